"""What compiling the Python module from scratch costs.

    ./run bench module_cost

Builds only the extension, in a new folder, one file at a time, once. Exits 1 if that takes more CPU than
budgeted: 60 s.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.common import processes, program
from benchmarks.common.machine import ROOT
from benchmarks.common.record import Record

BUDGET = 60.0  # seconds of CPU
WHAT, WHO = "from scratch: processor time", "the Python module"


def measure(record: Record) -> None:
    with tempfile.TemporaryDirectory() as build:
        options = ["-Dpython=enabled", f"-Dpython_command={sys.executable}", "-Dasync=disabled"]
        subprocess.run(["meson", "setup", build, str(ROOT), *options], check=True, stdout=subprocess.DEVNULL)
        (module,) = (path for path in Path(build, "bindings").glob("_native*.p"))
        ran = processes.run(
            ["ninja", "-C", build, "-j1", f"bindings/{module.name.removesuffix('.p')}"], os.environ
        )
    if ran.failed:
        raise RuntimeError(ran.output.decode(errors="replace"))
    record.add(WHAT, WHO, ran.cpu)
    record.add("from scratch, one file at a time", WHO, ran.seconds)
    record.add("memory at most", WHO, ran.peak, unit="B")


def main() -> int:
    figures = program.run("module_cost", program.benchmark("module_cost", __doc__, 1).parse_args(), measure)
    (cost,) = (figure.median for figure in figures if figure.what == WHAT)
    if cost > BUDGET:
        print(f"more than the budget of {BUDGET:.0f} s", file=sys.stderr)
    return 0 if cost <= BUDGET else 1


if __name__ == "__main__":
    sys.exit(main())
