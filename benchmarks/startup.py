"""How soon a program has begun: `import guestkit`, `guestkit --help`, and the same of peers.

    ./run bench startup [ROUNDS]

Starts each program in turn, in each of ROUNDS rounds (at least 10), each Python without anything of this
checkout in PYTHONPATH.
"""

from __future__ import annotations

import os
import subprocess
import sys

from benchmarks.common import peers, program
from benchmarks.common.record import Record

ROUNDS = 10
UPSTREAM = f"import sys; sys.path.append({peers.DIST_PACKAGES!r}); import guestfs"


def commands(record: Record) -> dict[tuple[str, str], list[str]]:
    """Return the command of each program for each task."""
    python = [sys.executable, "-P", "-c"]
    imported, handle, helped = "import it", "import it, and make a handle", "its --help"
    found = {
        (imported, "guestkit"): [*python, "import guestkit"],
        (handle, "guestkit"): [*python, "import guestkit; guestkit.Guestfs()"],
        (helped, "guestkit"): [sys.executable, "-P", "-m", "guestkit", "--help"],
    }
    if peers.module(record) is not None:
        found[imported, "python3-guestfs"] = [*python, UPSTREAM]
        found[handle, "python3-guestfs"] = [*python, f"{UPSTREAM}; guestfs.GuestFS(python_return_dict=True)"]
    for name in ("guestfish", "virt-inspector", "guestmount"):
        if peers.program(record, name):
            found[helped, name] = [name, "--help"]
    found[imported, "Python alone"] = [*python, "pass"]
    return found


def measure(record: Record) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    found = commands(record)
    for what, who in record.turns(found, at_least=ROUNDS):
        with record.timed(what, who):
            subprocess.run(found[what, who], env=environment, check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    program.run("startup", program.benchmark("startup", __doc__, ROUNDS).parse_args(), measure)


if __name__ == "__main__":
    main()
