#!/usr/bin/env python3
"""What compiling the Python module from scratch costs.

    ./run bench module_cost

Builds only the extension, in a new folder, one file at a time. Exits 1 if that takes more CPU than budgeted.
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
    """Return the CPU seconds of the child processes that have ended."""
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
    print(f"peak memory  {memory:.0f} MB, for the file that needs most")
    return 0 if cost <= BUDGET else 1


if __name__ == "__main__":
    sys.exit(main())
