"""What `./run` promises besides running the tests."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from guestkit.appliance import PACKAGE_DATABASES

ROOT = Path(__file__).resolve().parents[2]
RUN = ROOT / "run"


def run(*words: str | Path, cwd: Path = ROOT, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [RUN, *words], cwd=cwd, input=stdin, capture_output=True, text=True, timeout=60, check=False
    )


class Fresh(Protocol):
    """Runs the command in a tree without a set-up, and with an empty PATH, so that no set-up can happen."""

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Fresh]:
    shutil.copy(RUN, tmp_path)
    for name in ("docs", "tests", "benchmarks"):
        (tmp_path / name).mkdir()
    for path in (ROOT / "tests").iterdir():
        if path.is_dir():
            (tmp_path / "tests" / path.name).mkdir()
    for path in [ROOT / "docs" / "cli.md", *(ROOT / "benchmarks").glob("*.py")]:
        shutil.copy(path, tmp_path / path.parent.name)
    before = sorted(tmp_path.rglob("*"))

    def fresh(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/bash", tmp_path / "run", *words],
            env={"PATH": "/nonexistent"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    yield fresh
    assert sorted(tmp_path.rglob("*")) == before


def test_help_goes_to_stdout_and_names_every_command() -> None:
    done = run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for command in ("inspect", "test", "docs", "exec", "--no-install"):
        assert command in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("unknown",),
        ("exec",),
        ("bench", "none"),
        ("bench", "__main__"),
        ("bench", "--unknown"),
        ("bench", "--json"),
        ("test", "no-such-suite"),
        ("test", "../tests"),
        ("test", "--unknown"),
        ("test", "--minutes"),
        ("test", "--minutes="),
        ("test", "--minutes", "0"),
        ("test", "--minutes", "5", "docs"),
        ("test", "--full", "--minutes", "5"),
        ("docs", "more"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_why_on_stderr(words: tuple[str, ...], fresh: Fresh) -> None:
    done = fresh(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("guestkit: " if words else "Usage: ")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--help",), "./run COMMAND --help"),
        (("inspect", "--help"), "\nusage: guestkit inspect [-h]"),
        (("inspect", "--json", "disk.qcow2", "-h"), "\nusage: guestkit inspect [-h]"),
        (("test", "--help"), "these: appliance "),
        (("--no-install", "test", "--full", "cpp", "--help"), "-- goes to pytest"),
        (("test", "--no-install", "-h"), "-- goes to pytest"),
        (("bench", "--help"), "NAME is one of\nasync async_inspection cache calls "),
        (("bench", "--help"), "  --against FILE "),
        (("bench", "--write", "--help"), "docs/performance.md"),
        (("bench", "calls", "--help"), "./run bench calls [ROUNDS]\n"),
        (("docs", "--help"), "build/docs/site"),
        (("exec", "--help"), "./run exec CMD"),
    ],
)
def test_help_did_minutes_of_set_up_first(words: tuple[str, ...], told: str, fresh: Fresh) -> None:
    done = fresh(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert told in done.stdout
    assert all(len(line) < 120 for line in done.stdout.splitlines())


@pytest.mark.parametrize(
    "words", [("bench",), ("bench", "--rounds", "1", "--json=file"), ("bench", "calls", "1")]
)
def test_bench_without_a_name_was_wrong_usage(words: tuple[str, ...], fresh: Fresh) -> None:
    done = fresh(*words)
    assert (done.returncode, done.stdout) == (127, "")  # the set-up has begun, and lacks its first program


@pytest.mark.parametrize(
    ("words", "installed"),
    [
        (("bench", "calls"), ["requirements.txt", "requirements-dev.txt"]),
        (("bench", "--rounds", "1"), ["requirements.txt", "requirements-dev.txt"]),
        (("bench", "--write"), ["requirements.txt", "requirements-dev.txt", "requirements-bench.txt"]),
        (
            ("test", "--minutes", "5"),
            [f"requirements{kind}.txt" for kind in ("", "-dev", "-bench", "-full")],
        ),
    ],
)
def test_each_command_installs_what_it_needs(
    words: tuple[str, ...], installed: list[str], tmp_path: Path
) -> None:
    """Test a copy of `run` that only tells which packages it would install."""
    for folder in ("benchmarks", "build/venv"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "benchmarks" / "calls.py").touch()
    script, begin = RUN.read_text(encoding="utf-8"), "\nset_up\nuse_environment\n"
    assert begin in script
    stubs = "checkout_finder() { :; }\nchmod() { :; }\n"
    stubs += "install_python() { echo $1; }\nreplace() { cat >/dev/null; }\n"
    (tmp_path / "run").write_text(
        script.replace(begin, f"\n{stubs}python_packages; exit\n"), encoding="utf-8"
    )
    done = subprocess.run(
        ["bash", tmp_path / "run", *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.split()) == (0, installed), done.stderr


@pytest.mark.parametrize("words", [("exec", "tool", "--help"), ("test", "--", "--help")])
def test_help_of_another_program_is_left_to_it(words: tuple[str, ...], fresh: Fresh) -> None:
    done = fresh(*words)
    assert (done.returncode, done.stdout) == (127, "")  # the set-up has begun, and lacks its first program


def test_the_first_set_up_printed_tracebacks(tmp_path: Path) -> None:
    """Regression: Python tried to import a module that was not written yet, four times."""
    site = tmp_path / "build" / "venv" / "lib" / "python3.11" / "site-packages"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "build" / "venv"], check=True)
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "editable.py", tmp_path / "tools")
    script, begin = RUN.read_text(encoding="utf-8"), "no_install=\ncommand=\n"
    assert begin in script
    for number in range(2):
        (tmp_path / "run").write_text(script.replace(begin, "checkout_finder; exit\n"), encoding="utf-8")
        done = subprocess.run(["bash", tmp_path / "run"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert {path.name for path in site.glob("guestkit*")} == {
            "guestkit_checkout.pth",
            "guestkit_checkout.py",
        }, number


@pytest.mark.parametrize("failure", ["QEMU ends: no such property", ""])
def test_why_the_fastest_appliance_is_missing_stood_in_a_log_that_nobody_reads(
    failure: str, tmp_path: Path
) -> None:
    """Test a copy of `run` whose python pretends to have built a lean appliance."""
    program = tmp_path / "build" / "venv" / "bin" / "python"
    lean = tmp_path / "build" / "appliance" / "lean-1"
    for folder in (program.parent, lean, tmp_path / "build" / "log"):
        folder.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho built; echo 'guestkit: warning: unread' >&2\n", encoding="utf-8")
    program.chmod(0o755)
    if failure:
        (lean / "no-warm-appliance").write_text(failure, encoding="utf-8")
    script, begin = RUN.read_text(encoding="utf-8"), "no_install=\ncommand=\n"
    (tmp_path / "run").write_text(script.replace(begin, "appliance; exit\n"), encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "GUESTKIT_CACHEDIR"}
    done = subprocess.run(
        ["bash", tmp_path / "run"], capture_output=True, text=True, check=False, env=environment
    )
    assert (done.returncode, done.stdout) == (0, "")
    said = done.stderr.splitlines()
    assert said[0] == "guestkit: building the fast appliance …"
    assert [line.rpartition(": ")[2] for line in said[1:]] == [failure.rpartition(": ")[2]] * bool(failure)


def find_python(folder: Path, path: str = "/nonexistent") -> subprocess.CompletedProcess[str]:
    """Have a copy of `run` look for a Python in the folder's bin/ and in PATH."""
    script, begin = RUN.read_text(encoding="utf-8"), "no_install=\ncommand=\n"
    for old, new in (("/usr/lib", f"{folder}/lib"), ("/usr/bin/$name", f"{folder}/bin/$name")):
        assert old in script
        script = script.replace(old, new)
    (folder / "run").write_text(script.replace(begin, "find_python; exit\n"), encoding="utf-8")
    return subprocess.run(
        ["/bin/bash", folder / "run"], env={"PATH": path}, capture_output=True, text=True, check=False
    )


def pretend(python: Path, version: str) -> None:
    """Make a Python that says it is this version, or that it is of no use."""
    python.write_text(f"#!/bin/sh\n{f'echo {version}' if version else 'exit 1'}\n", encoding="utf-8")
    python.chmod(0o755)


@pytest.mark.parametrize(
    ("pythons", "boost", "expected"),
    [
        ({"python3": "3.13", "python3.11": "3.11"}, ["311"], "3.11 python3.11"),
        ({"python3": "3.13", "python3.14": "3.14"}, ["313", "314"], "3.13 python3"),
        ({"python3": "3.13", "python3.14": "3.14"}, [], "3.13 python3"),
        # python3 is too old, or has no headers
        ({"python3": "", "python3.12": "3.12"}, ["39"], "3.12 python3.12"),
        ({"python3": ""}, ["39"], ""),
    ],
)
def test_only_the_python_of_the_systems_boost_was_taken(
    pythons: dict[str, str], boost: list[str], expected: str, tmp_path: Path
) -> None:
    """Regression: without Boost.Python for it, a system's Python was of no use."""
    for folder in ("bin", "lib/machine"):
        (tmp_path / folder).mkdir(parents=True)
    for version in boost:
        (tmp_path / "lib" / "machine" / f"libboost_python{version}.so").touch()
    for name, version in pythons.items():
        pretend(tmp_path / "bin" / name, version)
    done = find_python(tmp_path)
    assert done.stdout.replace(f"{tmp_path}/bin/", "").strip() == expected
    assert done.returncode == (0 if expected else 1)
    assert expected or "there is no CPython 3.11 to 3.14 with headers" in done.stderr


def test_in_run_exec_the_virtual_environment_was_made_anew_with_its_own_python(tmp_path: Path) -> None:
    """Regression: --clear removed that Python, where the system's is of no use and PATH leads to this one."""
    programs = tmp_path / "build" / "venv" / "bin"
    programs.mkdir(parents=True)
    pretend(programs / "python3", "3.12")
    done = find_python(tmp_path, str(programs))
    assert (done.returncode, done.stdout) == (1, "")
    pyenv = tmp_path / "pyenv"
    pyenv.mkdir()
    pretend(pyenv / "python3", "3.12")
    done = find_python(tmp_path, f"{programs}:{pyenv}")
    assert (done.returncode, done.stdout) == (0, f"3.12 {pyenv}/python3\n")


def test_a_python_below_a_folder_with_blanks_in_its_name_was_not_found(tmp_path: Path) -> None:
    """Regression: its path was split at each blank."""
    folder = tmp_path / "Jane  Doe's programs"
    folder.mkdir()
    pretend(folder / "python3", "3.12")
    done = find_python(tmp_path, str(folder))
    assert (done.returncode, done.stdout) == (0, f"3.12 {folder}/python3\n")
    # And it is the one that the virtual environment is made with.
    begin = "find_python; exit\n"
    script = (tmp_path / "run").read_text(encoding="utf-8")
    (tmp_path / "run").write_text(
        script.replace(begin, 'step() { printf "%s\\n" "${@:3}"; exit; }\npython_environment\n'),
        encoding="utf-8",
    )
    done = subprocess.run(
        ["/bin/bash", tmp_path / "run"],
        env={"PATH": f"{folder}:/usr/bin:/bin"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines()[0] == f"{folder}/python3", done.stderr


def test_exec_keeps_directory_stdin_and_status(tmp_path: Path) -> None:
    done = run("exec", "sh", "-c", "pwd; cat; exit 7", cwd=tmp_path, stdin="through\n")
    assert (done.returncode, done.stdout, done.stderr) == (7, f"{tmp_path}\nthrough\n", "")


def test_where_there_was_no_appliance_each_command_said_that_a_file_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GUESTKIT_CACHEDIR", str(tmp_path / "none"))
    assert run("exec", "true").stderr == ""


@pytest.mark.parametrize("place", [ROOT, Path("/")])
def test_the_built_package_is_imported_from_everywhere(place: Path) -> None:
    program = "import guestkit; print(guestkit.__file__); print(guestkit.Guestfs().version()['major'])"
    done = run("exec", "python", "-c", program, cwd=place)
    assert (done.returncode, done.stdout) == (0, f"{ROOT / 'guestkit' / '__init__.py'}\n1\n"), done.stderr


def test_a_second_command_does_not_take_the_package_away_from_programs_that_start_meanwhile() -> None:
    """Regression: each command rewrote the file by which Python finds the package."""
    found_by = [*(ROOT / "build" / "venv").glob("lib/*/site-packages/guestkit_checkout.*")]
    assert len(found_by) == 2
    before = [(path.stat().st_ino, path.stat().st_mtime_ns) for path in found_by]
    assert run("exec", "true").returncode == 0
    assert [(path.stat().st_ino, path.stat().st_mtime_ns) for path in found_by] == before


def test_exec_finds_the_headers_and_the_library(tmp_path: Path) -> None:
    (tmp_path / "program.cpp").write_text("#include <guestkit/version.hpp>\nint main() {}\n")
    for compiler in ("g++", "clang++"):
        assert run("exec", compiler, "-fsyntax-only", tmp_path / "program.cpp").returncode == 0
    assert run("exec", "pkg-config", "--libs", "guestkit").stdout.strip() == "-lguestfs"


def test_inspect_prints_the_report_alone_to_stdout(tmp_path: Path) -> None:
    done = run("inspect", "--json", tmp_path / "missing")
    assert done.returncode == 1
    assert done.stdout.startswith("[\n")
    assert done.stdout.endswith("]\n")


def test_run_and_the_package_look_at_the_same_package_databases() -> None:
    script = RUN.read_text(encoding="utf-8")
    (listed,) = re.findall(r"^package_databases=\((.*?)\)$", script, re.MULTILINE | re.DOTALL)
    assert listed.split() == [str(path) for path in PACKAGE_DATABASES]


def test_upgrades_on_rhel_8_went_unnoticed() -> None:
    assert "/var/lib/rpm/Packages" in map(str, PACKAGE_DATABASES)


def test_a_missing_package_is_named_with_the_command_that_installs_it(tmp_path: Path) -> None:
    """Test a copy of `run` whose table has a package that does not exist."""
    table = (ROOT / "guestkit" / "system_packages.txt").read_text(encoding="utf-8")
    (tmp_path / "guestkit").mkdir()
    (tmp_path / "guestkit" / "system_packages.txt").write_text(
        table.replace(" g++ ", " guestkit-absent "), encoding="utf-8"
    )
    shutil.copy(RUN, tmp_path)
    done = subprocess.run(
        [tmp_path / "run", "--no-install", "exec", "true"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    sudo = "" if os.geteuid() == 0 else "sudo "
    command = f"{sudo}apt-get install -y --no-install-recommends guestkit-absent\n"
    assert f"install them with: {command}" in done.stderr


class Elsewhere(Protocol):
    """Runs the set-up's first step on another distribution, which has only these programs."""

    def __call__(self, release: str, *tools: str, level: str = ...) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture
def elsewhere(tmp_path: Path) -> Elsewhere:
    """Each package manager writes what it was called with to `calls`; nothing is installed before."""
    (tmp_path / "guestkit").mkdir()
    shutil.copy(ROOT / "guestkit" / "system_packages.txt", tmp_path / "guestkit")
    (tmp_path / "build" / "log").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    for name in ("env", "tail"):
        (tmp_path / "bin" / name).symlink_to(f"/usr/bin/{name}")
    script = RUN.read_text(encoding="utf-8")
    for line, other in (
        ("no_install=\ncommand=\n", "no_install= level=$LEVEL; system_packages; exit\n"),
        ("os_release=/etc/os-release\n", "os_release=$RELEASE HOSTTYPE=x86_64\n"),
        ("EUID != 0", "0"),
        ("/var/lib/pacman/sync/", f"{tmp_path}/no-lists/"),
    ):
        assert line in script
        script = script.replace(line, other, 1)
    (tmp_path / "run").write_text(script, encoding="utf-8")

    def elsewhere(release: str, *tools: str, level: str = "base") -> subprocess.CompletedProcess[str]:
        for tool in tools:
            # pacman -T and the like ask whether a package is installed.
            asks = '[ "$1" = -T ] && exit 127\n' if tool == "pacman" else '[ "$1" = info ] && exit 1\n'
            asks = "exit 1\n" if tool in ("rpm", "dpkg-query") else asks
            program = tmp_path / "bin" / tool
            program.write_text(f'#!/bin/sh\n{asks}echo "{tool} $*" >>{tmp_path}/calls\n', encoding="utf-8")
            program.chmod(0o755)
        environment = {
            "PATH": str(tmp_path / "bin"),
            "RELEASE": str(ROOT / "tests" / "python" / "os_release" / release),
            "LEVEL": level,
        }
        return subprocess.run(
            ["/bin/bash", tmp_path / "run"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return elsewhere


@pytest.mark.parametrize(
    ("release", "tools", "begin", "packages"),
    [
        (
            "debian-12",
            ["apt-get", "dpkg-query"],
            "apt-get install -y --no-install-recommends",
            "g++ libguestfs-dev",
        ),
        ("fedora-41", ["dnf", "rpm"], "dnf install -y", "gcc-c++ libguestfs-devel boost-python3-devel"),
        ("rocky-9", ["dnf", "rpm"], "dnf install -y", "gcc-c++ libguestfs-devel boost-devel"),
        (
            "opensuse-tumbleweed",
            ["zypper", "rpm"],
            "zypper --non-interactive install",
            "libboost_python3-devel",
        ),
        ("arch", ["pacman"], "pacman -S --noconfirm", "gcc libguestfs boost qemu-system-x86"),
        ("manjaro", ["pacman"], "pacman -S --noconfirm", "gcc libguestfs boost"),
        ("alpine-3.20", ["apk"], "apk add", "libguestfs-dev boost-dev boost-python3"),
        ("nixos-24.11", ["dnf", "rpm"], "dnf install -y", "libguestfs-devel"),  # by what is there
    ],
)
def test_a_system_without_apt_was_told_to_install_by_hand(
    elsewhere: Elsewhere, tmp_path: Path, release: str, tools: list[str], begin: str, packages: str
) -> None:
    done = elsewhere(release, *tools)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    *earlier, installed = (tmp_path / "calls").read_text(encoding="utf-8").splitlines()
    # Without its lists, as in a new container, pacman finds no package.
    lists = {"apt-get": ["apt-get update"], "pacman": ["pacman -Sy"]}
    assert earlier == lists.get(tools[0], [])
    assert installed.startswith(f"{begin} ")
    words = installed.split()
    assert set(packages.split()) <= set(words)
    assert not {"-", ".", "clang"} & set(words)
    assert len(words) == len(set(words))


@pytest.mark.parametrize(
    ("release", "tools", "packages"),
    [
        ("fedora-41", ["dnf", "rpm"], {"glibc-static", "libstdc++-static"}),
        ("rocky-9", ["dnf", "rpm"], {"glibc-static", "libstdc++-static"}),
        ("opensuse-tumbleweed", ["zypper", "rpm"], {"glibc-devel-static"}),
    ],
)
def test_the_appliance_s_programs_were_linked_without_the_static_libraries(
    elsewhere: Elsewhere, tmp_path: Path, release: str, tools: list[str], packages: set[str]
) -> None:
    elsewhere(release, *tools)
    calls = (tmp_path / "calls").read_text(encoding="utf-8")
    assert {word for word in calls.split() if "static" in word} == packages


@pytest.fixture
def set_up_before(tmp_path: Path) -> Path:
    """Return a tree that is set up, with a `run` that says which steps it would take."""
    for name in ("build", "bin", "tools"):
        (tmp_path / name).mkdir()
    script, begin = RUN.read_text(encoding="utf-8"), "no_install=\ncommand=\n"
    assert begin in script
    # What changes the machine is left out: it prints its name.
    steps = ("system_packages", "python_environment", "compile", "appliance")
    pretended = "".join(f"{name}() {{ say {name}; }}\n" for name in steps) + "python_packages() { :; }\n"
    script = script.replace(begin, f"{pretended}package_databases=() inputs=(run) level=base; set_up; exit\n")
    (tmp_path / "run").write_text(script, encoding="utf-8")
    (tmp_path / "build" / "appliance").mkdir()
    (tmp_path / "build" / "stamp-base").write_text(f"{tmp_path}\n", encoding="utf-8")
    for name in ("cat", "cmp", "cp", "find", "flock", "mkdir", "mv", "touch"):
        (tmp_path / "bin" / name).symlink_to(f"/usr/bin/{name}")
    return tmp_path


def set_up(tree: Path) -> tuple[int, list[str]]:
    """Run it; return its status and what it said it does."""
    done = subprocess.run(
        ["/bin/bash", tree / "run"],
        env={"PATH": str(tree / "bin")}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout == ""
    return done.returncode, [line.removeprefix("guestkit: ") for line in done.stderr.splitlines()]


def test_a_change_leads_to_a_set_up_and_nothing_else_does(set_up_before: Path) -> None:
    assert set_up(set_up_before) == (0, [])
    os.utime(set_up_before / "build" / "stamp-base", (0, 0))
    everything = ["system_packages", "python_environment", "compile", "appliance"]
    assert set_up(set_up_before) == (0, everything)
    assert set_up(set_up_before) == (0, [])


def test_packages_that_cannot_be_installed_beside_the_compiler_end_the_set_up(set_up_before: Path) -> None:
    (set_up_before / "build" / "stamp-base").unlink()
    script = (set_up_before / "run").read_text(encoding="utf-8")
    fails = script.replace("python_packages() { :; }", "python_packages() { /bin/false; }")
    (set_up_before / "run").write_text(fails, encoding="utf-8")
    assert set_up(set_up_before) == (1, ["system_packages", "python_environment", "compile"])


@pytest.mark.parametrize("name", ["cmp", "find", "flock"])
def test_without_find_a_stale_set_up_counted_as_up_to_date(name: str, set_up_before: Path) -> None:
    """Regression: it printed nothing, as where nothing has changed. Without flock, `run` ended at once."""
    (set_up_before / "bin" / name).unlink()
    status, (first, last) = set_up(set_up_before)
    assert (status, first) == (1, "system_packages")
    assert last.startswith("the set-up needs cmp find flock, and PATH lacks one: ")
    # Where the packages bring it, the set-up goes on.
    script = (set_up_before / "run").read_text(encoding="utf-8")
    brings = f"system_packages() {{ say system_packages; /bin/ln -sf /usr/bin/{name} {set_up_before}/bin; }}"
    script = script.replace("system_packages() { say system_packages; }", brings)
    (set_up_before / "run").write_text(script, encoding="utf-8")
    assert set_up(set_up_before) == (
        0,
        ["system_packages", "system_packages", "python_environment", "compile", "appliance"],
    )


def test_what_a_distribution_lacks_is_said_and_not_installed(elsewhere: Elsewhere, tmp_path: Path) -> None:
    done = elsewhere("fedora-41", "dnf", "rpm", level="test")
    assert "guestkit: this system has no package of: mmdebstrap\n" in done.stderr
    assert "compiler-rt" in (tmp_path / "calls").read_text(encoding="utf-8")


def test_a_browser_is_installed_for_the_long_forms_alone(elsewhere: Elsewhere, tmp_path: Path) -> None:
    calls = []
    for level in ("test", "full"):
        elsewhere("fedora-41", "dnf", "rpm", level=level)
        calls.append((tmp_path / "calls").read_text(encoding="utf-8").splitlines()[-1].split())
    usual, full = map(set, calls)
    assert full - usual == {"chromium", "rclone"}
    assert "doxygen" in usual


def test_a_system_whose_package_manager_is_missing_is_told(elsewhere: Elsewhere) -> None:
    done = elsewhere("fedora-41", "rpm")
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        done.stderr
        == "guestkit: this system has no dnf, by which Fedora Linux 41 (Forty One) installs packages\n"
    )


def test_an_unknown_system_is_told_what_is_needed(elsewhere: Elsewhere) -> None:
    done = elsewhere("nixos-24.11")
    assert (done.returncode, done.stdout) == (1, "")
    assert "install libguestfs, QEMU, Boost.Python" in done.stderr


def test_disks_of_tests_that_passed_are_not_left_in_tmp(tmp_path: Path) -> None:
    """Regression: three runs left 45 GB there, which filled the disk."""
    module = tmp_path / "test_disk.py"
    module.write_text(
        "def test_disk(tmp_path, tmp_path_factory):\n"
        "    for folder in tmp_path, tmp_path_factory.mktemp('shared'):\n"
        "        (folder / 'disk.img').write_bytes(b'disk')\n",
        encoding="utf-8",
    )
    kept = tmp_path / "tmp"
    kept.mkdir()
    command = [sys.executable, "-m", "pytest", "-n1", "-c", str(ROOT / "pyproject.toml"), str(module)]
    environment = {**os.environ, "TMPDIR": str(kept)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
    assert [*kept.rglob("disk.img")] == []
