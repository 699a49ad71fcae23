"""The C++ files pass the formatter and the linter."""

from __future__ import annotations

import os
import re
import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INCLUDE = ROOT / "include"
LIBRARY = sorted(h for h in (INCLUDE / "guestkit").rglob("*.?pp") if h.parent.name != "generated")
HEADERS = [path for path in LIBRARY if path.suffix == ".hpp"]
PUBLIC = [path for path in HEADERS if "detail" not in path.parts]
COMPILED = sorted((ROOT / "src").glob("*.cpp"))
#: The room of what needs Boost.Thread, which the compiled library does without: inline in both forms.
INLINE = "guestkit/detail/async/"
BINDINGS = sorted((ROOT / "bindings").glob("*.?pp"))
APPLIANCE = sorted((ROOT / "appliance").glob("*.?pp"))
#: Without `./run`'s include path, which makes ours system headers: compilers and linters ignore those.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "CPLUS_INCLUDE_PATH"}
#: The argument that the dependency guestkit-async adds.
BOOST = "-DBOOST_THREAD_VERSION=5"
WARNINGS = [
    "-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror",
    BOOST, f"-I{INCLUDE}",
]  # fmt: skip
TESTS = sorted((ROOT / "tests").rglob("*.?pp"))
EXAMPLES = sorted((ROOT / "examples").rglob("*.?pp"))


def run(*command: str | Path) -> None:
    done = subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_clang_format() -> None:
    run(
        "clang-format", "--dry-run", "-Werror",
        *LIBRARY, *COMPILED, *BINDINGS, *APPLIANCE, *TESTS, *EXAMPLES,
    )  # fmt: skip


def test_clang_tidy(tmp_path: Path) -> None:
    """Check the headers as a program includes them."""
    program = tmp_path / "program.cpp"
    program.write_text(
        "#include <guestkit/inspect_many.hpp>\n"
        "int main() { guestkit::Guestfs().launch(); guestkit::AsyncGuestfs().launch();\n"
        '  guestkit::inspect_many(guestkit::string_list{"disk"}); }\n'
    )
    run(
        "clang-tidy", "--quiet", "--config-file=.clang-tidy", program,
        "--", "-std=c++20", BOOST, f"-I{ROOT / 'include'}",
    )  # fmt: skip


@pytest.mark.full
def test_clang_tidy_of_what_runs_in_the_appliance() -> None:
    run(
        "clang-tidy",
        "--quiet",
        "--config-file=.clang-tidy",
        *sorted((ROOT / "appliance").glob("*.cpp")),
        "--",
        "-std=c++20",
        f"-I{INCLUDE}",
    )


@pytest.mark.full
def test_clang_tidy_of_the_bindings() -> None:
    run(
        "clang-tidy", "--quiet", "--config-file=.clang-tidy", *sorted((ROOT / "bindings").glob("*.cpp")),
        "--", "-std=c++20", "-DGUESTKIT_COMPILED", "-DGUESTFS_PRIVATE=1", '-DGUESTKIT_LIBGUESTFS="1.48.6"',
        f"-I{INCLUDE}",
        "-isystem", sysconfig.get_path("include"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("compiler", "form", "headers"),
    [
        ("g++", "-DGUESTKIT_COMPILED", PUBLIC),
        pytest.param("g++", "-DGUESTKIT_COMPILED", HEADERS, marks=pytest.mark.full),
        pytest.param("g++", "-UGUESTKIT_COMPILED", HEADERS, marks=pytest.mark.full),
        pytest.param("clang++", "-DGUESTKIT_COMPILED", HEADERS, marks=pytest.mark.full),
        pytest.param("clang++", "-UGUESTKIT_COMPILED", HEADERS, marks=pytest.mark.full),
    ],
    ids=["public", "g++ compiled", "g++", "clang++ compiled", "clang++"],
)
def test_each_header_compiles_alone_without_a_warning(
    compiler: str, form: str, headers: list[Path], tmp_path: Path
) -> None:
    for header in headers:
        source = tmp_path / f"{header.stem}.cpp"
        source.write_text(f"#include <{header.relative_to(INCLUDE)}>\n" * 2)
        run(compiler, *WARNINGS, form, source)


@pytest.mark.parametrize(
    "compiler",
    [pytest.param("g++", marks=pytest.mark.full), "clang++"],  # the build does it, too
)
def test_the_bodies_compile_without_a_warning(compiler: str) -> None:
    run(compiler, *WARNINGS, "-DGUESTKIT_COMPILED", *COMPILED)


def test_the_compiled_form_has_all_bodies() -> None:
    """A missing body is noticed only when a program links."""
    bodies = {str(path.relative_to(INCLUDE)) for path in LIBRARY if path.suffix == ".ipp"}
    bodies = {body for body in bodies if not body.startswith(INLINE)}
    for path in COMPILED:
        included = re.findall(r'^#include "(.*)"$', path.read_text(encoding="utf-8"), re.MULTILINE)
        room = f"guestkit/detail/{path.stem}/"
        assert sorted(included) == sorted(body for body in bodies if body.startswith(room))
    assert {body.split("/")[2] for body in bodies} == {path.stem for path in COMPILED}


def included(header: Path, seen: set[Path]) -> set[Path]:
    """Add the header and what it includes, which is no body, to those seen."""
    seen.add(header)
    for name in re.findall(r'^#include "(.*\.hpp)"$', header.read_text(encoding="utf-8"), re.MULTILINE):
        if INCLUDE / name not in seen:
            included(INCLUDE / name, seen)
    return seen


def test_no_room_includes_one_that_is_built_on_it() -> None:
    """docs/architecture.md has their order. What a public header includes counts, too."""
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    (order,) = re.findall(r"in rooms: (.*)$", text, re.MULTILINE)
    rooms = order.split(" > ")
    detail = INCLUDE / "guestkit/detail"
    assert sorted(rooms) == sorted(path.name for path in detail.iterdir())
    climbing = {
        f"{path.relative_to(INCLUDE)} includes {header.relative_to(INCLUDE)}"
        for path in LIBRARY
        if detail in path.parents
        for header in included(path, set())
        if detail in header.parents and rooms.index(header.parent.name) < rooms.index(path.parent.name)
    }
    assert sorted(climbing) == []


def test_no_file_of_the_librarys_is_inherited_by_a_program_that_another_thread_starts() -> None:
    """Streams of the standard library open files without O_CLOEXEC."""
    assert [path for path in LIBRARY if "#include <fstream>" in path.read_text(encoding="utf-8")] == []


def test_no_static_object_is_destroyed_while_a_thread_may_read_it() -> None:
    """At exit the threads of a pool may still run; fork.hpp has the rule."""
    free = r"constexpr|constinit|thread_local constinit|std::atomic\w*|const (?:char|long|int)"
    static = re.compile(rf"^ +static (?!(?:{free})\b)[^(;]*[=;].*$", re.MULTILINE)
    assert {path.name: static.findall(path.read_text(encoding="utf-8")) for path in LIBRARY} == {
        path.name: [] for path in LIBRARY
    }


def test_a_users_function_was_not_to_be_called_major() -> None:
    """Regression: guestkit.hpp defined the macros of <sys/sysmacros.h>."""

    def macros(*headers: str) -> set[str]:
        text = "".join(f"#include <{header}>\n" for header in headers)
        done = subprocess.run(
            ["g++", "-std=c++20", "-dM", "-E", BOOST, f"-I{INCLUDE}", "-x", "c++", "-"],
            input=text, env=ENVIRONMENT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return set(re.findall(r"^#define ([a-z][a-z0-9]*)\(", done.stdout, re.MULTILINE))

    own = macros("guestkit/guestkit.hpp", "guestkit/open_disk.hpp", "guestkit/mounted.hpp")
    assert sorted(own - macros("csignal", "cstring", "filesystem", "thread")) == []


def test_boosts_version_must_come_before_its_headers(tmp_path: Path) -> None:
    source = tmp_path / "late.cpp"
    source.write_text("#include <boost/thread/future.hpp>\n#include <guestkit/async.hpp>\n")
    done = subprocess.run(
        ["g++", "-std=c++20", "-fsyntax-only", f"-I{INCLUDE}", source],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "needs BOOST_THREAD_VERSION=5 before any Boost header: build with guestkit-async" in done.stderr


def test_an_action_that_an_older_libguestfs_lacks_is_left_out(tmp_path: Path) -> None:
    """The headers compile without every other GUESTFS_HAVE macro."""
    source = tmp_path / "older.cpp"
    macros = subprocess.run(
        ["g++", "-dM", "-E", "-include", "guestfs.h", "-x", "c++", "/dev/null"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    have = sorted(line.split()[1] for line in macros.splitlines() if " GUESTFS_HAVE_" in line)
    needed = {"GUESTFS_HAVE_" + name for name in NEEDED}
    assert needed <= set(have)
    removed = [name for name in have if name not in needed][::2]
    lines = ["#include <guestfs.h>", *(f"#undef {name}" for name in removed)]
    lines += ["#include <guestkit/async.hpp>"]
    lines += ["int main() { guestkit::Guestfs().launch(); guestkit::AsyncGuestfs().launch(); }"]
    source.write_text("\n".join(lines) + "\n")
    run(
        "g++", "-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", BOOST, f"-I{ROOT / 'include'}",
        source,
    )  # fmt: skip
    assert len(removed) > 250


#: The actions that guestkit itself calls, which every libguestfs since 1.22 has.
NEEDED = [
    "CREATE_FLAGS",
    "ADD_DRIVE",
    "ADD_DRIVE_OPTS",
    "ADD_DRIVE_RO",
    "LAUNCH",
    "SHUTDOWN",
    "KILL_SUBPROCESS",
    "SYNC",
    "USER_CANCEL",
    "MOUNTPOINTS",
    "MOUNT_LOCAL",
    "MOUNT_LOCAL_RUN",
    "UMOUNT_LOCAL",
]


@pytest.mark.parametrize("compiler", ["g++", pytest.param("clang++", marks=pytest.mark.full)])
def test_who_forgot_a_header_was_told_by_the_linker_alone(compiler: str, tmp_path: Path) -> None:
    """Regression: the linker named a symbol; the compiler names the function, which names its header."""
    program = tmp_path / "program.cpp"
    program.write_text(
        '#include <guestkit/guestkit.hpp>\nint main() { guestkit::Guestfs().open_disk("x"); }\n'
    )
    done = subprocess.run(
        [compiler, "-std=c++20", "-fsyntax-only", f"-I{INCLUDE}", program],
        env=ENVIRONMENT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert re.search("warning: inline function .*open_disk.* (used but never|is not) defined", done.stderr)
