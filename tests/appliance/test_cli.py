"""The commands with real appliances. Most share one in which a hostile guest is mounted."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import guestkit.cli.guests
from guestkit import Guestfs, open_guest
from guestkit.cli import main
from tests.images import hostile
from tests.terminal import Terminal

MARK = "GUESTKIT_TEST_RUN"
PATIENCE = 60


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "hostile.img"
    hostile.make(path)
    return path


@pytest.fixture(scope="module")
def mounted(disk: Path) -> Iterator[Guestfs]:
    with open_guest(disk, format="raw") as g:
        yield g


@pytest.fixture
def shared(mounted: Guestfs, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Give the command a guest that is already mounted; return the options with which it opened it."""
    asked: dict[str, Any] = {}

    @contextmanager
    def opened(disk: list[str], **options: Any) -> Iterator[Guestfs]:
        asked.update(options, disk=disk)
        yield mounted

    monkeypatch.setattr(guestkit.cli.guests, "open_guest", opened)
    return asked


def is_safe(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n"))


# A hostile guest, in a pipe.


def test_ls_escapes_names_and_targets(shared: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", "-lR", "disk", "/srv"]) == 0
    out = capsys.readouterr().out
    assert is_safe(out)
    assert f" link -> {hostile.ESCAPED}\n" in out
    assert f" {hostile.ESCAPED.replace('/', chr(0x2044))}\n" in out
    assert " \\xff\\u202e.txt\n" in out
    assert re.search(r"^-rw-r--r-- 0 0 +8 \d{4}-\d\d-\d\d \d\d:\d\d ", out, re.MULTILINE)
    assert main(["ls", "--json", "disk", "/srv/link"]) == 0
    (file,) = json.loads(capsys.readouterr().out)
    assert (file["target"], file["kind"]) == (hostile.ATTACK, "l")


def test_a_missing_path_lost_the_others_which_nothing_told_apart(
    shared: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    """Regression: `ls` of several directories was one list, and nothing where one path was wrong."""
    paths = ["/etc/debian_version", "/nope", "/srv/directory", "/"]
    assert main(["ls", "disk", *paths]) == 1
    out, err = capfd.readouterr()
    assert out.startswith("/etc/debian_version\n\n/srv/directory:\n")
    assert "\n\n/:\n" in out
    assert err.startswith("guestkit: error: /nope: ")
    assert err.count("\n") == 1
    assert main(["ls", "--json", "disk", *paths[:2]]) == 1
    assert [file["path"] for file in json.loads(capfd.readouterr().out)] == paths[:1]
    assert main(["ls", "disk", *paths[2:3]]) == 0
    assert ":" not in capfd.readouterr().out
    assert main(["cat", "disk", "/nope", *paths[:1], "/srv"]) == 1
    out, err = capfd.readouterr()
    assert out == "12.5\n"
    assert err.splitlines() == [
        "guestkit: error: /nope: no such file",
        "guestkit: error: /srv: is no regular file",
    ]


def test_cat_is_exact_in_a_pipe(shared: dict[str, Any], capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["cat", "disk", "/srv/text", "/etc/debian_version"]) == 0
    assert capfdbinary.readouterr().out == f"{hostile.ATTACK}\tü\n".encode() + b"\xff\n12.5\n"


def test_cp_warns_of_what_it_leaves_out(
    shared: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["cp", "-r", "disk", ":/srv", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert is_safe(err)
    lines = sorted(err.splitlines())
    assert lines[0].startswith("guestkit: warning: /srv/absolute: not copied: a symlink that points outside")
    assert lines[1].startswith("guestkit: warning: /srv/out: not copied: a symlink that points outside")
    assert len(lines) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["srv"]


def test_a_missing_file_is_named(shared: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ["ls", "disk", "/nope\x1b"],
        ["cat", "disk", "/nope\x1b"],
        ["cp", "disk", ":/nope\x1b", "."],
    ):
        assert main(words) == 1
        err = capsys.readouterr().err
        assert err.startswith("guestkit: ")
        assert err.count("\n") == 1
        assert r"error: /nope\x1b: " in err  # without the action's name, which the user did not type
        assert is_safe(err)


def test_how_the_disk_is_opened(shared: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--format", "qcow2", "--backing", "allow", "--root", "/dev/sda2", "--timeout", "9"]
    assert main(["ls", *words, "--key", "all:key:secret", "disk"]) == 0
    assert (shared["format"], shared["backing"], shared["root"]) == ("qcow2", "allow", "/dev/sda2")
    assert (shared["call_timeout"], shared["readonly"]) == (9.0, True)
    assert main(["cat", "-a", "second", "--add", "third", "disk", "/etc/debian_version"]) == 0
    assert shared["disk"] == ["disk", "second", "third"]
    assert "secret" not in repr(shared["keys"])


def test_paths_have_to_say_which_side_they_are_on(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ["cp", "disk", "/etc/hosts", "."],
        ["cp", "disk", ":/etc/hosts", ":/etc/other"],
        ["cp", "disk", "hosts", ":/etc/hosts"],  # without --format
        ["cp", "disk", ":etc/hosts", "."],
        ["ls", "disk", "etc"],
    ):
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert caught.value.code == 2


def test_inspect_escapes_what_the_guest_says(disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(disk)]) == 0
    out = capsys.readouterr().out
    assert is_safe(out)
    assert f"    product name    {hostile.ESCAPED}\n" in out
    assert f"    hostname        {hostile.ESCAPED}\n" in out
    assert f"      {hostile.ESCAPED}  {hostile.ESCAPED}  {hostile.ESCAPED}\n" in out
    assert r"\x1b[31mlabel" in out


def test_xml_and_json_stay_what_they_are(disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "--xml", str(disk)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in out
    assert "<script" not in out


@pytest.mark.parametrize("format", ["cyclonedx", "spdx"])
def test_a_bill_of_materials_escapes_what_the_guest_says(
    format: str, disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sbom", "--to", format, str(disk)]) == 0
    out, err = capsys.readouterr()
    assert out.isascii()
    assert is_safe(out)
    assert is_safe(err)
    told = json.loads(out)
    listed = told["components"] if format == "cyclonedx" else told["packages"]
    assert hostile.ESCAPED in [one["name"] for one in listed]


def test_a_hostile_guest_does_not_differ_from_itself(disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", str(disk), str(disk)]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert is_safe(err)


# The same guest, in a terminal.


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["inspect", "--applications"], r"\x1b]0;owned\x07\x1b[2J<script>alert(1)</script>[red]"),
        (["cat"], r"\x1b]0;owned\x07\x1b[2J<script>alert(1)</script>[red]   ü"),
    ],
    ids=["inspect", "cat"],
)
def test_a_guest_does_not_reach_the_terminal(disk: Path, words: list[str], shown: str) -> None:
    paths = ["/srv/text"] if words == ["cat"] else []
    with Terminal(["-m", "guestkit", *words, disk.name, *paths], cwd=disk.parent) as terminal:
        assert terminal.end() == 0
        assert shown in terminal.screen()
        assert terminal.title == ""
        assert b"\x1b]" not in terminal.raw


# Copying both ways, with the command's own appliance.


@pytest.fixture
def copy(demo_guest: Path, tmp_path: Path) -> Path:
    """A disk that tests may write to."""
    path = tmp_path / "disk.qcow2"
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(demo_guest), "-F", "raw", str(path)]
    subprocess.run(command, check=True)
    return path


def test_what_goes_in_is_on_the_disk_and_comes_out(
    copy: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "motd").write_text("hello\n")
    opened = ["--format", "qcow2", "--backing", "allow", str(copy)]
    assert main(["cp", *opened, str(tmp_path / "motd"), ":/etc/motd"]) == 0
    assert main(["cat", *opened, "/etc/motd"]) == 0
    assert capfd.readouterr().out == "hello\n"


def test_a_disk_that_names_another_says_how_to_open_it(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ls", "--format", "qcow2", str(copy)]) == 1
    err = capsys.readouterr().err
    assert "--backing DIRECTORY or --backing allow permits it" in err
    assert err.count("\n") == 1
    assert main(["inspect", "--format", "qcow2", str(copy)]) == 1
    assert "--backing DIRECTORY or --backing allow permits it" in capsys.readouterr().err
    assert main(["inspect", "--format", "qcow2", "--backing", str(copy.parent.parent.parent), str(copy)]) == 0
    assert "hostname        guestkit-demo" in capsys.readouterr().out


def test_df_tells_how_full_it_is(demo_guest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["df", "--json", str(demo_guest)]) == 0
    root, var = json.loads(capsys.readouterr().out)
    assert (root["device"], root["type"], root["mountpoint"]) == ("/dev/sda1", "ext4", "/")
    assert var["mountpoint"] == "/var"
    assert 0 < root["used"] < root["size"] <= 64 << 20


# Interruptions.


def processes_of(mark: str) -> set[str]:
    names = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (process / "environ").read_bytes().split(b"\0"):
                names.add((process / "comm").read_text().strip())
        except OSError:  # it has ended, or is another user's
            pass
    return names


@pytest.mark.parametrize(
    ("words", "number", "said"),
    [
        (["inspect", "-q"], signal.SIGINT, "interrupted: nothing is reported"),
        (["df"], signal.SIGTERM, "interrupted: nothing is reported"),
        (["ls", "-R"], signal.SIGINT, "interrupted"),
        (["cp", "-r"], signal.SIGTERM, "interrupted: nothing was written"),
    ],
    ids=["inspect-INT", "df-TERM", "ls-INT", "cp-TERM"],
)
def test_a_signal_ends_it_says_so_and_leaves_no_qemu(
    demo_guest: Path, tmp_path: Path, words: list[str], number: signal.Signals, said: str
) -> None:
    target = tmp_path / "target"
    paths = [":/usr", str(target)] if words[0] == "cp" else []
    mark = uuid.uuid4().hex
    with subprocess.Popen(
        [sys.executable, "-m", "guestkit", *words, demo_guest, *paths],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {MARK: mark},
    ) as process:
        deadline = time.monotonic() + PATIENCE
        while not any(name.startswith("qemu") for name in processes_of(mark)):
            assert process.poll() is None, "the command ended before QEMU started"
            assert time.monotonic() < deadline
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == -number
    assert b"operating system" not in out
    assert err.decode().splitlines()[-1] == f"guestkit: {said}"
    assert b"Traceback" not in err
    assert processes_of(mark) == set()
    assert not target.exists()


def test_ctrl_c_removes_what_was_half_copied(demo_guest: Path, tmp_path: Path) -> None:
    """Whenever Ctrl-C comes, the target is complete or absent."""
    target = tmp_path / "target"
    target.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "guestkit", "cp", "-r", demo_guest, ":/usr", target],
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + PATIENCE
    while not list(target.iterdir()) and process.poll() is None:
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    there = [path.name for path in target.iterdir()]
    assert (process.returncode, there) in ((0, ["usr"]), (-signal.SIGINT, []), (-signal.SIGINT, ["usr"]))
    if process.returncode:
        written = f"only {target / 'usr'} was written" if there else "nothing was written"
        assert err.decode().splitlines()[-1] == f"guestkit: interrupted: {written}"
    shutil.rmtree(target)
