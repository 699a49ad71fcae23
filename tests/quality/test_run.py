"""What `./run` promises besides running the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUN = ROOT / "run"


def run(*words: str | Path, cwd: Path = ROOT, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [RUN, *words], cwd=cwd, input=stdin, capture_output=True, text=True, timeout=60, check=False
    )


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
        ("bench",),
        ("bench", "none"),
        ("test", "no-such-suite"),
        ("test", "../tests"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_why_on_stderr(words: tuple[str, ...]) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr


def test_exec_keeps_directory_stdin_and_status(tmp_path: Path) -> None:
    done = run("exec", "sh", "-c", "pwd; cat; exit 7", cwd=tmp_path, stdin="through\n")
    assert (done.returncode, done.stdout, done.stderr) == (7, f"{tmp_path}\nthrough\n", "")


@pytest.mark.parametrize("place", [ROOT, Path("/")])
def test_the_built_package_is_imported_from_everywhere(place: Path) -> None:
    program = "import guestkit; print(guestkit.__file__); print(guestkit.Guestfs().version()['major'])"
    done = run("exec", "python", "-c", program, cwd=place)
    assert (done.returncode, done.stdout) == (0, f"{ROOT / 'guestkit' / '__init__.py'}\n1\n"), done.stderr


def test_a_second_command_does_not_take_the_package_away_from_programs_that_start_meanwhile() -> None:
    """It wrote the file by which Python finds it anew, each time."""
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


def test_a_missing_package_is_named_with_the_command_that_installs_it(tmp_path: Path) -> None:
    """In a copy whose list of packages holds one that nobody has."""
    script = RUN.read_text(encoding="utf-8").replace("packages=(g++", "packages=(guestkit-absent g++", 1)
    copy = tmp_path / "run"
    copy.write_text(script, encoding="utf-8")
    copy.chmod(0o755)
    done = subprocess.run(
        [copy, "--no-install", "exec", "true"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "sudo apt-get install -y --no-install-recommends guestkit-absent\n" in done.stderr


def test_disks_of_tests_that_passed_are_not_left_in_tmp(tmp_path: Path) -> None:
    """Three runs left 45 GB there, and the disk was full."""
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
