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
#: What a test is compiled with, if that is not a header.
PARTS = {
    "test_command": [str(ROOT / "appliance/command.cpp")],
    "test_storage": [str(ROOT / "appliance" / name) for name in ("storage.cpp", "system.cpp")],
}
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
    parts = PARTS.get(source.stem, [])
    run([*compiler, *COMMON, str(source), *parts, "-o", str(program), *LIBRARIES])
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
    compiler = ["g++", "-O1", "-fsanitize=thread"]
    # Without address randomisation: see START.
    options = f"die_after_fork=0:suppressions={HARMLESS}"
    build_and_run(source, tmp_path, compiler, "setarch", "-R", TSAN_OPTIONS=options)


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


#: By the kind of fault: what -fsanitize= takes, further arguments of g++, and the runtime library.
SANITIZERS = {
    # Without two checks. null: g++ passes a thread's forced unwinding to a catch as a null reference, and
    # a null pointer crashes anyway. vptr: with it, destructors erase the object's type, which Boost.Python
    # 1.74 still needs to free the memory.
    "address": ("address,undefined", "-fno-sanitize=null,vptr -fno-sanitize-recover=undefined", "libasan.so"),
    "thread": ("thread", "", "libtsan.so"),
}
#: The sanitizer looks up the functions that it intercepts at the start. Those for exceptions and XDR are in
#: libraries that otherwise only the extension loads, later.
LOADED = ["libstdc++.so.6", "libtirpc.so.3"]
#: Reports of the sanitizer for threads that are no faults.
HARMLESS = Path(__file__).parent / "tsan.supp"
#: Without address randomisation: with the wide range of newer kernels, g++ 12's sanitizer does not start.
START = """\
#!/bin/sh
exec setarch -R env LD_PRELOAD='{preload}' {python} "$@"
"""
#: Other programs, QEMU above all, must not load the sanitizer; a Python that this one starts must.
CUSTOMIZE = """\
import os, sys
import guestkit_checkout
guestkit_checkout.Finder.folders[1] = {extension!r}
sys.executable = {start!r}
os.environ.pop("LD_PRELOAD", None)  # a sub-interpreter finds it gone
"""


def sanitized_extension(kind: str) -> Path:
    """Build what is out of date of an extension with that sanitizer; return its folder."""
    folder = ROOT / "build" / f"sanitized-{kind}"
    sanitize, arguments, _ = SANITIZERS[kind]
    if not (folder / "build.ninja").exists():
        shutil.rmtree(folder, ignore_errors=True)
        run([
            "meson", "setup", str(folder), "-Dpython=enabled", f"-Dpython_command={sys.executable}",
            "-Dbuildtype=debug", "-Doptimization=1", f"-Db_sanitize={sanitize}", "-Db_lundef=false",
            f"-Dcpp_args={arguments}",
        ])  # fmt: skip
    run(["meson", "compile", "-C", str(folder)])
    return folder / "bindings"


def library(name: str) -> str:
    return run(["g++", f"-print-file-name={name}"]).strip()


class SanitizedPython:
    """A Python that imports the extension with a sanitizer, as do the Pythons that it starts."""

    def __init__(self, kind: str, folder: Path) -> None:
        extension = sanitized_extension(kind)
        self._reports = folder / "reports"
        self._reports.mkdir()
        self._start = folder / "python"
        preload = " ".join([library(SANITIZERS[kind][2]), *LOADED])
        self._start.write_text(START.format(preload=preload, python=sys.executable), encoding="utf-8")
        self._start.chmod(0o755)
        customize = CUSTOMIZE.format(extension=str(extension), start=str(self._start))
        (folder / "sitecustomize.py").write_text(customize, encoding="utf-8")
        written = f"log_path={self._reports}/report"
        self._environment = {
            "PYTHONPATH": str(folder),
            "PYTHONMALLOC": "malloc",  # otherwise the tool does not see Python's small blocks
            "GUESTKIT_MEMORY_CALLS": "100",
            # Python itself does not free all memory at exit; valgrind and test_memory.py look for leaks.
            "ASAN_OPTIONS": f"detect_leaks=0:{written}",
            "UBSAN_OPTIONS": f"halt_on_error=1:print_stacktrace=1:{written}",
            "TSAN_OPTIONS": f"die_after_fork=0:suppressions={HARMLESS}:{written}",
        }
        used = self.run("-c", "import guestkit; print(guestkit._native.__file__)")
        assert used.startswith(str(extension))

    def run(self, *arguments: str) -> str:
        """Run it with these arguments; fail with its output, or with what the sanitizer has found."""
        output = run([str(self._start), *arguments], **self._environment)
        reports = [path.read_text(errors="replace") for path in self._reports.iterdir()]
        assert not reports, "\n".join(reports)
        return output


@pytest.mark.full
def test_the_extension_with_sanitizers(tmp_path: Path) -> None:
    # -s, because output that pytest has captured is lost in a crash, with the report.
    SanitizedPython("address", tmp_path).run(*PYTEST[1:], "-s", *PYTHON_TESTS)


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", SANITIZERS)
def test_a_short_soak_with_sanitizers(kind: str, tmp_path: Path) -> None:
    """All sections but `limits`: the tools themselves need more memory and descriptors than it leaves."""
    sections = [f"--only={name}" for name in ("guests", "kills", "storms", "load", "attacks")]
    directory = f"--directory={tmp_path / 'soak'}"
    SanitizedPython(kind, tmp_path).run("-m", "tests.soak", "--seed=1", "--cases=2", directory, *sections)


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
