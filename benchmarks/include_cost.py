"""What guestkit's headers add to the compilation of a C++ program, compared with <nlohmann/json.hpp>.

    ./run bench include_cost [ROUNDS]

Compiles in turn, with g++ -O2, programs that only include a header and one that opens a handle and mounts a
filesystem; those with guestkit in both forms: header-only, and compiled (GUESTKIT_COMPILED), with the
function bodies in a library. The time is that of the processor. Exits 1 if guestkit.hpp costs more time or
memory than nlohmann/json.hpp, or if the program in the compiled form costs more than 1.5 times its include
alone. Headers that guestkit.hpp does not include, such as inspect.hpp and async.hpp, are left out: they cost
only the programs that use them.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from benchmarks.common import peers, program
from benchmarks.common.figures import Figure
from benchmarks.common.machine import ROOT
from benchmarks.common.record import Record

ROUNDS = 5
PROGRAM_FACTOR = 1.5

EMPTY = "int main() {}\n"
MOUNT = """int main() {
  guestkit::Guestfs g;
  g.add_drive_ro("disk.img");
  g.launch();
  g.mount_ro("/dev/sda1", "/");
}
"""
OURS = "#include <guestkit/guestkit.hpp>\n"
PEER, HEADER_ONLY, COMPILED = "nlohmann/json.hpp", "guestkit.hpp", "guestkit.hpp, compiled form"
INCLUDED, MOUNTS = "only included", "a program that mounts"
DEFINES = {COMPILED: ["-DGUESTKIT_COMPILED"]}
PROGRAMS = {
    (INCLUDED, PEER): f"#include <{PEER}>\n{EMPTY}",
    (INCLUDED, HEADER_ONLY): OURS + EMPTY,
    (INCLUDED, COMPILED): OURS + EMPTY,
    (MOUNTS, HEADER_ONLY): OURS + MOUNT,
    (MOUNTS, COMPILED): OURS + MOUNT,
}


def memory(what: str) -> str:
    return f"{what}: memory"


def compile_once(source: Path, defines: Iterable[str]) -> tuple[float, float]:
    """Return the CPU seconds and the peak memory in bytes that the compiler took."""
    include = f"-I{ROOT / 'include'}"
    command = ["g++", "-std=c++20", "-O2", include, *defines, "-c", str(source), "-o", "/dev/null"]
    child = os.posix_spawnp(command[0], command, os.environ)
    _, status, used = os.wait4(child, 0)
    if status != 0:
        raise RuntimeError(f"{' '.join(command)} failed")
    return used.ru_utime + used.ru_stime, used.ru_maxrss * 1024


def measure(record: Record) -> None:
    programs = dict(PROGRAMS)
    if not peers.header(record, PEER):
        del programs[INCLUDED, PEER]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "program.cpp"
        for what, who in record.turns(programs):
            source.write_text(programs[what, who], encoding="utf-8")
            seconds, peak = compile_once(source, DEFINES.get(who, ()))
            record.add(what, who, seconds)
            record.add(memory(what), who, peak, unit="B")


def too_much(figures: Iterable[Figure]) -> list[str]:
    """Return which limits are exceeded."""
    median = {(figure.what, figure.who): figure.median for figure in figures}
    found = [
        f"{form} costs more than {PEER}: {what}"
        for what in (INCLUDED, memory(INCLUDED))
        for form in (HEADER_ONLY, COMPILED)
        if median[what, form] > median.get((what, PEER), float("inf"))
    ]
    if (factor := median[MOUNTS, COMPILED] / median[INCLUDED, COMPILED]) > PROGRAM_FACTOR:
        found.append(f"the program costs {factor:.2f} times its include (at most {PROGRAM_FACTOR})")
    return found


def main() -> int:
    given = program.benchmark("include_cost", __doc__, ROUNDS).parse_args()
    complaints = too_much(program.run("include_cost", given, measure))
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
