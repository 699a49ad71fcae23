#!/usr/bin/env python3
"""What `#include <guestkit/guestkit.hpp>` costs a C++ program to compile, over the headers that it includes.

    ./run bench include_cost

Compiles an empty program with guestkit's header and one with the standard headers and <guestfs.h> that it
includes, directly or by our other headers, in turn, and prints medians. Exits 1 when the header costs more
than its budget. What guestkit.hpp leaves out, such as inspect.hpp and async.hpp, only its users pay for.
"""

from __future__ import annotations

import re
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

INCLUDE = Path(__file__).resolve().parent.parent / "include"
BUDGET = 0.5  # seconds of CPU over the standard headers
MEMORY_BUDGET = 150  # MB in all
ROUNDS = 7


def included_by(header: Path, seen: set[Path]) -> set[str]:
    """Return the headers of others that this one includes, by ours too, as they are written."""
    if header in seen:
        return set()
    seen.add(header)
    text = header.read_text(encoding="utf-8")
    found = set(re.findall(r"^#include (<[^>]+>)", text, re.MULTILINE))
    for ours in re.findall(r'^#include "([^"]+)"', text, re.MULTILINE):
        found |= included_by((header.parent / ours).resolve(), seen)
    return found


def compile_once(source: Path) -> float:
    """Return the CPU seconds that the compiler took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = ["g++", "-std=c++20", "-O2", f"-I{INCLUDE}", "-c", str(source), "-o", "/dev/null"]
    subprocess.run(command, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    headers = included_by(INCLUDE / "guestkit" / "guestkit.hpp", set())
    with tempfile.TemporaryDirectory() as folder:
        ours, peer = Path(folder) / "ours.cpp", Path(folder) / "peer.cpp"
        ours.write_text("#include <guestkit/guestkit.hpp>\nint main() {}\n")
        peer.write_text("".join(f"#include {header}\n" for header in sorted(headers)) + "int main() {}\n")
        rounds = [(compile_once(ours), compile_once(peer)) for _ in range(ROUNDS)]
    with_guestkit, without = (statistics.median(times) for times in zip(*rounds, strict=True))
    cost = with_guestkit - without
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6
    print(f"guestkit.hpp        {with_guestkit:.2f} s of CPU, median of {ROUNDS}")
    print(f"its standard headers {without:.2f} s")
    print(f"over them           {cost:.2f} s (budget {BUDGET} s), ratio {with_guestkit / without:.2f}")
    print(f"peak memory         {memory:.0f} MB (budget {MEMORY_BUDGET} MB)")
    return 0 if cost <= BUDGET and memory <= MEMORY_BUDGET else 1


if __name__ == "__main__":
    sys.exit(main())
