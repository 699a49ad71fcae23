#!/usr/bin/env python3
"""What it costs to compile the Python module, from nothing.

    ./run bench module_cost

Builds the extension alone in a new folder, file by file. Exits 1 when it takes more CPU than its budget.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUDGET = 60.0  # seconds of CPU


def cpu() -> float:
    """Return the CPU seconds of the programs that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    with tempfile.TemporaryDirectory() as build:
        options = ["-Dpython=enabled", f"-Dpython_command={sys.executable}", "-Dasync=disabled"]
        subprocess.run(["meson", "setup", build, str(ROOT), *options], check=True, stdout=subprocess.DEVNULL)
        (module,) = (path for path in Path(build, "bindings").glob("_native*.p"))
        before = cpu()
        target = f"bindings/{module.name.removesuffix('.p')}"
        subprocess.run(["ninja", "-C", build, "-j1", target], check=True, stdout=subprocess.DEVNULL)
        cost = cpu() - before
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6
    print(f"the module   {cost:.1f} s of CPU (budget {BUDGET:.0f} s)")
    print(f"peak memory  {memory:.0f} MB, of the hungriest file")
    return 0 if cost <= BUDGET else 1


if __name__ == "__main__":
    sys.exit(main())
