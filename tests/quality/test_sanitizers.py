"""The C++ tests once more, built so that faults of memory and threads show."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "tests" / "cpp").glob("test_*.cpp"))
COMMON = ["-std=c++20", "-g", "-DGUESTFS_PRIVATE=1", "-DBOOST_TEST_DYN_LINK", f"-I{ROOT / 'include'}"]
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"]
LIBRARIES = ["-lboost_unit_test_framework", "-lguestfs", "-lpthread"]


def build_and_run(source: Path, folder: Path, compiler: list[str], *prefix: str) -> None:
    program = folder / source.stem
    for command in (
        [*compiler, *COMMON, str(source), "-o", str(program), *LIBRARIES],
        [*prefix, str(program)],
    ):
        done = subprocess.run(
            command,
            env={**os.environ, "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_addresses_and_undefined_behaviour(source: Path, tmp_path: Path) -> None:
    build_and_run(
        source, tmp_path, ["g++", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    )


@pytest.mark.full
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
@pytest.mark.parametrize(
    "compiler",
    [
        ["g++", "-O1", "-D_GLIBCXX_DEBUG"],
        ["clang++", "-O1", *WARNINGS],
        ["clang++", "-std=c++2b", "-O1"],
        ["g++", "-std=c++23", "-O2", *WARNINGS],
    ],
    ids=["libstdc++ debug mode", "clang", "clang c++2b", "g++ c++23"],
)
def test_other_compilers_and_modes(source: Path, compiler: list[str], tmp_path: Path) -> None:
    build_and_run(source, tmp_path, compiler)
