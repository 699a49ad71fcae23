#!/usr/bin/env python3
"""What guestkit's headers add to the compilation of a C++ program, compared with <nlohmann/json.hpp>.

    ./run bench include_cost

Compiles in turn, with g++ -O2, programs that only include a header and one that opens a handle and mounts a
filesystem; those with guestkit in both forms: header-only, and compiled (GUESTKIT_COMPILED), with the
function bodies in a library. Prints medians. Exits 1 if guestkit.hpp costs more time or memory than
nlohmann/json.hpp in the compiled form, or more than 1.25 times as much header-only, where each program
compiles what launches and calls do as well; or if the program in the compiled form costs more than 1.5 times
its include alone. Headers that guestkit.hpp does not include, such as inspect.hpp and async.hpp, are left
out: they cost only the programs that use them.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from pathlib import Path

INCLUDE = Path(__file__).resolve().parent.parent / "include"
ROUNDS = 5
PROGRAM_FACTOR = 1.5
HEADER_ONLY_FACTOR = 1.25

EMPTY = "int main() {}\n"
MOUNT = """int main() {
  guestkit::Guestfs g;
  g.add_drive_ro("disk.img");
  g.launch();
  g.mount_ro("/dev/sda1", "/");
}
"""
OURS = "#include <guestkit/guestkit.hpp>\n"
PROGRAMS = {
    "nlohmann/json.hpp": ("#include <nlohmann/json.hpp>\n" + EMPTY, ()),
    "guestkit.hpp": (OURS + EMPTY, ()),
    "guestkit.hpp, compiled form": (OURS + EMPTY, ("-DGUESTKIT_COMPILED",)),
    "a program that mounts": (OURS + MOUNT, ()),
    "a program that mounts, compiled form": (OURS + MOUNT, ("-DGUESTKIT_COMPILED",)),
}


def compile_once(source: Path, defines: tuple[str, ...]) -> tuple[float, float]:
    """Return the CPU seconds and the peak memory in MB that the compiler took."""
    command = ["g++", "-std=c++20", "-O2", f"-I{INCLUDE}", *defines, "-c", str(source), "-o", "/dev/null"]
    child = os.posix_spawnp(command[0], command, os.environ)
    _, status, used = os.wait4(child, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(command)} failed")
    return used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6


def main() -> int:
    costs: dict[str, list[tuple[float, float]]] = {name: [] for name in PROGRAMS}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "program.cpp"
        for _ in range(ROUNDS):
            for name, (text, defines) in PROGRAMS.items():
                source.write_text(text)
                costs[name].append(compile_once(source, defines))
    seconds = {name: statistics.median(time for time, _ in each) for name, each in costs.items()}
    memory = {name: statistics.median(size for _, size in each) for name, each in costs.items()}
    for name in PROGRAMS:
        print(f"{name:38}{seconds[name]:6.2f} s of CPU{memory[name]:6.0f} MB")
    peer, header_only, form = "nlohmann/json.hpp", "guestkit.hpp", "guestkit.hpp, compiled form"
    program = seconds["a program that mounts, compiled form"] / seconds[form]
    good = program <= PROGRAM_FACTOR
    for name, limit in ((form, 1.0), (header_only, HEADER_ONLY_FACTOR)):
        time, size = seconds[name] / seconds[peer], memory[name] / memory[peer]
        print(f"{name} / {peer}: time {time:.2f}, memory {size:.2f} (at most {limit})")
        good = good and max(time, size) <= limit
    print(f"program / its include: {program:.2f} (at most {PROGRAM_FACTOR})")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
