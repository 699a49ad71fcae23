"""The code in docs/cpp.md compiles."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.docs.snippets import ROOT, blocks

FOREIGN = ROOT / "tests" / "consumer" / "foreign"


def run(*command: str | Path) -> str:
    done = subprocess.run(
        [str(word) for word in command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_snippets_compile_and_the_program_runs(tmp_path: Path) -> None:
    parts = blocks("cpp.md", "cpp")
    (program,) = [part for part in parts if "int main" in part]
    snippets = [part for part in parts if part is not program]
    assert len(snippets) == 5
    functions = [
        f"void snippet_{n}([[maybe_unused]] guestkit::Guestfs& g) {{\n{part}}}\n"
        for n, part in enumerate(snippets)
    ]
    source = tmp_path / "program.cpp"
    headers = ("guestkit/inspect_many.hpp", "cerrno", "iostream", "thread")
    includes = "".join(f"#include <{header}>\n" for header in headers)
    unused = "[[maybe_unused]] static "
    source.write_text(includes + "".join(unused + function for function in functions) + program)
    # The compiled form saves a minute; the README's program is compiled with the bodies.
    flags = run("pkg-config", "--cflags", "--libs", "guestkit-compiled", "guestkit-async").split()
    run("g++", "-std=c++20", "-Wall", "-Wextra", "-Werror", source, *flags, "-o", tmp_path / "program")
    assert re.fullmatch(r"2048\n\d+\n", run(tmp_path / "program"))


def test_the_lines_for_build_systems_are_those_that_the_consumer_tests_build() -> None:
    for language, used in (("meson", "meson.build"), ("cmake", "CMakeLists.txt")):
        lines = (FOREIGN / used).read_text(encoding="utf-8").splitlines()
        shown = [line for block in blocks("cpp.md", language) for line in block.splitlines()]
        assert shown
        assert set(shown) <= set(lines)
