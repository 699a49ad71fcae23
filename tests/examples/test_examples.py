"""Each example runs, and prints the same in C++ as in Python."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ROOT / "build" / "meson" / "examples" / "cpp"
SCRIPTS = ROOT / "examples" / "python"

Run = Callable[..., str]


def cpp(name: str, *arguments: str | Path) -> str:
    return output(PROGRAMS / name, *arguments)


def python(name: str, *arguments: str | Path) -> str:
    return output(sys.executable, SCRIPTS / f"{name}.py", *arguments)


def output(*command: str | Path) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


languages = pytest.mark.parametrize("run", [cpp, python])


@languages
def test_inspect_vm(run: Run, demo_guest: Path) -> None:
    assert run("inspect_vm", demo_guest, "raw").splitlines() == [
        "/dev/sda1: Debian GNU/Linux 12, x86_64, host guestkit-demo",
        "  / on /dev/sda1",
        "  /var on /dev/sda2",
        "  base-files 12.4+deb12u5",
        "  bash 5.2.15",
        "  dash 0.5.12",
        "  tzdata 2024a",
        "  vim-tiny 9.0.1378",
    ]


@languages
def test_inspect_many(run: Run, demo_guest: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    lines = run("inspect_many", "raw", demo_guest, missing).splitlines()
    assert [line.split(": ")[0] for line in lines] == ["1 of 2", "2 of 2"]
    answers = dict(line.split(": ", 2)[1:] for line in lines)
    assert answers[str(demo_guest)] == "Debian GNU/Linux 12"
    assert answers[str(missing)] == "no such file"


@languages
def test_extract_files(run: Run, demo_guest: Path, tmp_path: Path) -> None:
    paths = ("/etc/hostname", "/var/lib/dpkg/status")
    said = run("extract_files", demo_guest, "raw", tmp_path, *paths).splitlines()
    assert (tmp_path / "hostname").read_text() == "guestkit-demo\n"
    assert said == [
        f"{path}: {(tmp_path / name).stat().st_size} bytes"
        for path, name in zip(paths, ("hostname", "status"), strict=True)
    ]


@languages
def test_create_disk_and_copy_tree(run: Run, tmp_path: Path) -> None:
    disk, folder, target = tmp_path / "disk.qcow2", tmp_path / "tree", tmp_path / "target"
    assert run("create_disk", disk) == "/dev/guests/data: ext4\n"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "file").write_bytes(b"content")
    (folder / "link").symlink_to("/etc/passwd")
    target.mkdir()
    found = run("copy_tree", disk, "/dev/guests/data", folder, target).splitlines()
    skipped = 'skipped: /tree/link: a symlink that points outside: "/etc/passwd"'
    assert sorted(found) == ["/link", "/sub", "/sub/file", skipped]
    assert (target / "tree" / "sub" / "file").read_bytes() == b"content"
    assert not (target / "tree" / "link").is_symlink()


@languages
def test_watch_events(run: Run) -> None:
    assert run("watch_events").splitlines() == ["launch_done", "enter mkfs", "enter mount", "close"]


@languages
def test_cancel_download(run: Run, tmp_path: Path) -> None:
    assert run("cancel_download", tmp_path / "target").splitlines() == [
        "the download was cancelled",
        f"the file has {8 << 30} bytes",
    ]


def test_every_example_is_there_in_both_languages_and_has_a_test() -> None:
    tested = Path(__file__).read_text(encoding="utf-8")
    for source in (ROOT / "examples" / "cpp").glob("*.cpp"):
        assert (SCRIPTS / f"{source.stem}.py").is_file()
        assert f'"{source.stem}"' in tested
