#!/usr/bin/env python3
"""What guestkit's headers add to the compilation of a C++ program, compared with <nlohmann/json.hpp>.

    ./run bench include_cost

Compiles in turn, with g++ -O2, programs that only include a header and one that opens a handle and mounts a
filesystem; those with guestkit in both forms: header-only, and compiled (GUESTKIT_COMPILED), with the
function bodies in a library. Prints medians. Exits 1 if guestkit.hpp costs more time or memory than
nlohmann/json.hpp, or if the program in the compiled form costs more than 1.5 times its include alone. Headers
that guestkit.hpp does not include, such as inspect.hpp and async.hpp, are left out: they cost only the
programs that use them.
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
    peer = "nlohmann/json.hpp"
    form, program = "guestkit.hpp, compiled form", "a program that mounts, compiled form"
    good = (
        all(
            seconds[name] <= seconds[peer] and memory[name] <= memory[peer] for name in ("guestkit.hpp", form)
        )
        and seconds[program] <= PROGRAM_FACTOR * seconds[form]
    )
    print(f"program / its include: {seconds[program] / seconds[form]:.2f} (at most {PROGRAM_FACTOR})")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
