"""Run the C++ and Python tests under sanitizers and valgrind, which show faults of memory and threads."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "tests" / "cpp").glob("test_*.cpp"))
COMMON = [
    "-std=c++20", "-g", "-DGUESTFS_PRIVATE=1", "-DBOOST_TEST_DYN_LINK", "-DBOOST_THREAD_VERSION=5",
    f"-I{ROOT / 'include'}",
]  # fmt: skip
#: Without `./run`'s include path, which makes ours system headers: compilers ignore those.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "CPLUS_INCLUDE_PATH"}
#: Programs that link with Boost.Thread, whose objects hold containers, which are larger in the debug mode.
BOOST_THREAD = {"test_async", "test_inspect_many"}
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"]
LIBRARIES = ["-lboost_unit_test_framework", "-lboost_thread", "-lguestfs", "-lpthread"]

VALGRIND = [
    # Without fair scheduling, threads that never wait starve the one that forks.
    "valgrind", "--quiet", "--fair-sched=yes", "--error-exitcode=9", "--child-silent-after-fork=yes",
    "--num-callers=20", "--leak-check=full", "--show-leak-kinds=definite", "--errors-for-leak-kinds=definite",
]  # fmt: skip


def run(command: list[str], **environment: str) -> str:
    """Run the command in the repository; return its output, or fail with it."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=ENVIRONMENT | {"UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def build_and_run(
    source: Path,
    folder: Path,
    compiler: list[str],
    *prefix: str,
    arguments: Sequence[str] = (),
    **environment: str,
) -> None:
    program = folder / source.stem
    run([*compiler, *COMMON, str(source), "-o", str(program), *LIBRARIES])
    run([*prefix, str(program), *arguments], **environment)


@pytest.mark.full
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
    if source.stem in BOOST_THREAD:
        compiler = ["-D_GLIBCXX_ASSERTIONS" if word == "-D_GLIBCXX_DEBUG" else word for word in compiler]
    build_and_run(source, tmp_path, compiler)


@pytest.mark.full
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_threads(source: Path, tmp_path: Path) -> None:
    # Without address randomisation: with the wide range of newer kernels, g++ 12's sanitizer does not start.
    compiler = ["g++", "-O1", "-fsanitize=thread"]
    build_and_run(source, tmp_path, compiler, "setarch", "-R", TSAN_OPTIONS="die_after_fork=0")


@pytest.mark.full
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_valgrind(source: Path, tmp_path: Path) -> None:
    left_out = {
        # valgrind turns vfork into fork, so that posix_spawn does not notice that a program is missing.
        "test_kvm": ["--run_test=!a_missing_qemu_is_told"],
        "test_run_program": ["--run_test=!a_program_that_is_not_there_is_an_error"],
        # A forked child never frees what belongs to its parent, which valgrind reports as a leak.
        "test_async": ["--run_test=!closing/a_forked_child_leaves_the_handle_alone_and_can_open_its_own"],
        "test_turns": ["--run_test=!forking/a_forked_child_can_drop_a_handle_that_is_being_watched"],
        "test_inspect_many": ["--run_test=!a_forked_child_leaves_the_fleet_alone"],
    }.get(source.stem, [])
    build_and_run(source, tmp_path, ["g++", "-O1"], *VALGRIND, arguments=left_out)


# ---- Python

PYTHON_TESTS = [
    f"tests/python/test_{name}.py"
    for name in ("arguments", "errors", "events", "handle", "memory", "memoryview", "values")
]
#: pytest's own crash handler would hide the tool's report.
PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:faulthandler"]


def sanitized_extension() -> Path:
    """Build what is out of date of an extension with sanitizers; return its folder."""
    folder = ROOT / "build" / "sanitized"
    if not (folder / "build.ninja").exists():
        shutil.rmtree(folder, ignore_errors=True)
        # Without two checks. null: g++ passes a thread's forced unwinding to a catch as a null reference, and
        # a null pointer crashes anyway. vptr: with it, destructors erase the object's type, which
        # Boost.Python 1.74 still needs to free the memory.
        run([
            "meson", "setup", str(folder), "-Dpython=enabled", f"-Dpython_command={sys.executable}",
            "-Dbuildtype=debug", "-Doptimization=1", "-Db_sanitize=address,undefined", "-Db_lundef=false",
            "-Dcpp_args=-fno-sanitize=null,vptr -fno-sanitize-recover=undefined",
        ])  # fmt: skip
    run(["meson", "compile", "-C", str(folder)])
    return folder / "bindings"


def library(name: str) -> str:
    return run(["g++", f"-print-file-name={name}"]).strip()


def sanitized_python(folder: Path) -> dict[str, str]:
    """Return the environment in which Python imports the extension with sanitizers: for any tests of it.

    folder: for a file that Python reads when it starts
    """
    extension = sanitized_extension()
    (folder / "sitecustomize.py").write_text(
        f"import guestkit_checkout\nguestkit_checkout.Finder.extension = {str(extension)!r}\n",
        encoding="utf-8",
    )
    environment = {
        "PYTHONPATH": str(folder),
        "PYTHONMALLOC": "malloc",  # otherwise the tool does not see Python's small blocks
        "GUESTKIT_MEMORY_CALLS": "100",
        # Python itself does not free all memory at exit; valgrind and test_memory.py look for leaks.
        "ASAN_OPTIONS": "detect_leaks=0",
        # The sanitizer looks up at the start the functions that it intercepts. Those for exceptions and XDR
        # are in libraries that only the extension would load, later.
        "LD_PRELOAD": " ".join([library("libasan.so"), "libstdc++.so.6", "libtirpc.so.3"]),
    }
    used = run([sys.executable, "-c", "import guestkit; print(guestkit._native.__file__)"], **environment)
    assert used.startswith(str(extension))
    return environment


@pytest.mark.full
def test_the_extension_with_sanitizers(tmp_path: Path) -> None:
    # -s, because output that pytest has captured is lost in a crash, with the report.
    run([*PYTEST, "-s", *PYTHON_TESTS], **sanitized_python(tmp_path))


@pytest.mark.full
def test_python_under_valgrind() -> None:
    # Leave out tests that start other programs, and tracemalloc, which itself leaks.
    left_out = ("arguments", "handle")
    tests = [test for test in PYTHON_TESTS if not any(name in test for name in left_out)]
    suppressions = f"--suppressions={ROOT / 'tests' / 'quality' / 'python.supp'}"
    run(
        [*VALGRIND, suppressions, *PYTEST, "-k", "not nothing_is_copied", *tests],
        PYTHONMALLOC="malloc",
        GUESTKIT_MEMORY_CALLS="10",
    )


@pytest.mark.full
def test_python_in_development_mode() -> None:
    run([sys.executable, "-X", "dev", *PYTEST[1:], "tests/python"], PYTHONMALLOC="debug")
