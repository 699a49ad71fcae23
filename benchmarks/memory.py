"""The memory of a handle, before its launch and with its QEMU, compared with python3-guestfs and guestfish.

    ./run bench memory [ROUNDS]

Each program stops at some points, where its memory is looked at: after the import, with 200 handles more, and
with an appliance that has one disk. What processes share is counted once (PSS). That of fleets is what
`./run bench fleet` tells.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence

import psutil

from benchmarks.common import peers, processes, program
from benchmarks.common.record import Record

HANDLES = 200
IMPORTS = {
    "guestkit": "from guestkit import Guestfs as make",
    "python3-guestfs": "import guestfs; make = lambda: guestfs.GuestFS(python_return_dict=True)",
}
#: After these imports; it says that a point is reached, and waits until its memory has been looked at.
PROGRAM = f"""
print(flush=True); sys.stdin.readline()
handles = [make() for _ in range({HANDLES})]
print(flush=True); sys.stdin.readline()
g = make()
g.add_drive(sys.argv[1], readonly=True, format="raw")
g.launch()
print(flush=True); sys.stdin.readline()
"""


def looks(command: Sequence[str], answers: Sequence[str]) -> list[tuple[int, int]]:
    """Return the command's memory whenever it says something, and that of QEMU, in bytes.

    answers: what it is told each time before it says something
    """
    found = []
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=peers.environment()) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for answer in answers:
            process.stdin.write(answer)
            process.stdin.flush()
            if not process.stdout.readline():
                raise RuntimeError(f"{command[0]} has ended")
            found.append((processes.memory(process.pid), qemu(process.pid)))
        process.stdin.close()
    return found


def qemu(pid: int) -> int:
    """Return the resident memory of the largest process that the process has started."""
    return max((child.memory_info().rss for child in psutil.Process(pid).children(recursive=True)), default=0)


def measure(record: Record) -> None:
    ways = ["guestkit"]
    if peers.module(record) is not None:
        ways.append("python3-guestfs")
    if peers.program(record, "guestfish"):
        ways.append("guestfish")
    with tempfile.NamedTemporaryFile() as disk:
        disk.truncate(64 << 20)
        for who in record.turns(ways):
            if who == "guestfish":
                command = ["guestfish", "--ro", "--format=raw", "-a", disk.name]
                (launched,) = looks(command, ["run\necho launched\n"])
            else:
                text = f"import sys; sys.path.append({peers.DIST_PACKAGES!r})\n{IMPORTS[who]}{PROGRAM}"
                command = [sys.executable, "-c", text, disk.name]
                (imported, _), (handles, _), launched = looks(command, ["", "\n", "\n"])
                record.add("a Python that has imported it", who, imported, unit="B")
                record.add("a handle before its launch", who, (handles - imported) / HANDLES, unit="B")
            record.add("a handle with its QEMU", who, launched[0], unit="B")
            record.add("QEMU alone, as resident (RSS)", who, launched[1], unit="B")


def main() -> None:
    program.run("memory", program.benchmark("memory", __doc__).parse_args(), measure)


if __name__ == "__main__":
    main()
