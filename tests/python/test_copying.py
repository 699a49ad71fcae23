"""What is checked and prepared on the host before files are copied; tests/appliance has the copying."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest

from guestkit import ApplianceKilled, Error, Guestfs, copying
from guestkit.cli import main
from guestkit.copying import _Incoming, _Tally, check_target, copy_in, copy_out
from guestkit.files import Extracted, GuestFile, SkippedFile


class Guest:
    """A guest with nothing but the directory /srv and the file /srv/file."""

    def is_dir(self, path: str, followsymlinks: bool = False) -> bool:
        return path in ("/", "/srv")

    def realpath(self, path: str) -> str:
        return path

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} is called")


#: Deeper than Python calls functions.
DEPTH = 1100

GUEST = cast(Guestfs, Guest())


@pytest.mark.parametrize("name", ["new/", "new//", b"new/", "./new/"])
def test_a_copy_to_a_directory_that_is_not_there_became_a_file_of_its_name(
    name: str | bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Error, match="copy_out: new: is no directory"):
        copy_out(GUEST, ["/srv/file"], name)
    assert os.listdir() == []
    with pytest.raises(Error, match="copy_in: /srv/new: is no directory in the guest"):
        copy_in(GUEST, [__file__], f"/srv/{os.fsdecode(name)}")


@pytest.mark.parametrize("one", ["/srv/file", b"/srv/file", Path("/srv/file")])
def test_the_letters_of_one_source_were_copied(one: Any, tmp_path: Path) -> None:
    """Regression: of "/etc/hosts" it said that "/" is a directory, which only a recursive copy takes."""
    with pytest.raises(TypeError, match=r"copy_out\(\) takes a sequence of sources, such as \["):
        copy_out(GUEST, one, tmp_path)
    with pytest.raises(TypeError, match=r"copy_in\(\) takes a sequence of sources, such as \["):
        copy_in(GUEST, one, "/srv")


def test_a_directory_that_cannot_be_read_failed_the_copy_on_a_terminal_alone(tmp_path: Path) -> None:
    class Damaged(Guest):
        reason = Error("readdir", "/srv/bad: Input/output error", errno.EIO)

        def walk(self, *_: Any) -> Any:
            raise self.reason

        _walked = walk

        def extract(self, path: str, into: Path, **options: Any) -> Extracted:
            (into / "srv").mkdir()
            bad = SkippedFile(path="/srv/bad", reason="Input/output error")
            return Extracted(files=0, directories=1, symlinks=0, bytes=0, skipped=(bad,))

    guest = Damaged()
    copied = copy_out(cast(Guestfs, guest), ["/srv"], tmp_path, recursive=True, progress=print)
    assert [skipped.path for skipped in copied.skipped] == ["/srv/bad"]
    guest.reason = ApplianceKilled("walk", "the appliance was killed")
    with pytest.raises(ApplianceKilled):
        copy_out(cast(Guestfs, guest), ["/srv"], tmp_path / "new", recursive=True, progress=print)


def test_where_one_directory_cannot_be_read_the_total_was_0(tmp_path: Path) -> None:
    """So that a callback that divides by it ended the copy."""
    facts: Any = {"mode": 0o644, "uid": 0, "gid": 0, "mtime": 0, "target": ""}

    class Damaged(Guest):
        def walk(self, path: str) -> Any:
            raise Error("readdir", "/srv/bad: Input/output error", errno.EIO)

        def _walked(self, path: str, *_: int) -> Any:
            if path == "/srv/bad":
                return self.walk(path)
            return [
                GuestFile(path="/srv/bad", kind="d", size=4096, not_entered=True, **facts),
                GuestFile(path="/srv/file", kind="-", size=7, not_entered=False, **facts),
            ]

        def extract(self, path: str, into: Path, progress: Any, **_: Any) -> Extracted:
            (into / "srv").mkdir()
            progress("/srv/file", 7)
            return Extracted(files=1, directories=1, symlinks=0, bytes=7, skipped=())

    told: list[tuple[int, int]] = []
    guest = cast(Guestfs, Damaged())
    copy_out(guest, ["/srv"], tmp_path, recursive=True, progress=lambda *both: told.append(both))
    assert told == [(7, 7)]


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    top = tmp_path / "d"
    subprocess.run(["mkdir", "-p", str(top) + "/d" * (DEPTH - 1)], check=True)
    yield top
    subprocess.run(["rm", "-r", top], check=True)  # which pytest's own recursion cannot


def test_a_tree_deeper_than_pythons_stack_was_not_copied(deep: Path) -> None:
    (deep / ("d/" * (DEPTH - 1) + "file")).write_bytes(b"x")
    incoming = _Incoming(deep, "/", inside=True, recursive=True)
    assert incoming.size() == 1
    packed = io.BytesIO()
    incoming._pack(packed, "made", _Tally(None, 0))
    assert incoming.counts == {"files": 1, "directories": DEPTH, "symlinks": 0}
    packed.seek(0)
    with tarfile.open(fileobj=packed) as tar:
        assert tar.getnames()[-1] == "made" + "/d" * (DEPTH - 1) + "/file"


def test_a_target_that_cannot_be_written_was_told_after_the_launch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    for target in (tmp_path, tmp_path / "new", f"{tmp_path}/new/", os.fsencode(tmp_path / "new")):
        with pytest.raises(Error, match=f"copy_out: {tmp_path}: cannot be written by this user") as caught:
            copy_out(cast(Guestfs, None), ["/srv/file"], target)
        assert caught.value.errno == errno.EACCES
    assert main(["cp", "no disk", ":/srv/file", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"guestkit: error: {tmp_path}: cannot be written by this user\n"
    check_target("/")


@pytest.mark.parametrize("name", ["closed/new", "closed/in/new"])
def test_a_target_below_a_closed_directory_raised_another_error(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat, closed = os.stat, str(tmp_path / "closed")
    os.mkdir(closed)

    def refused(path: Any, **options: Any) -> os.stat_result:
        if str(path).startswith(f"{closed}/"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", refused)
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != closed)
    with pytest.raises(Error, match="copy_out: .*(cannot be written by this user|is no directory)$"):
        copy_out(GUEST, ["/srv/file"], tmp_path / name)


def test_what_went_wrong_on_the_host_named_a_hidden_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: True)  # by root
    with pytest.raises(Error, match=r"^copy_out: /proc/file: No such file or directory$") as caught:
        copy_out(GUEST, ["/srv/file"], "/proc")  # where nobody makes directories
    assert caught.value.errno == errno.ENOENT

    def vanish(self: Any, into: Path, *_: object) -> Extracted:
        (tmp_path / "file").mkdir()
        (into / "file").touch()
        return Extracted(files=1, directories=0, symlinks=0, bytes=0, skipped=())

    monkeypatch.setattr(copying._Outgoing, "_extracted", vanish)
    monkeypatch.setattr(copying._Outgoing, "_look", lambda self: None)
    with pytest.raises(Error, match=f"^copy_out: {tmp_path}/file: Is a directory$"):
        copy_out(GUEST, ["/srv/file"], tmp_path)
    assert os.listdir(tmp_path) == ["file"]


def test_what_has_more_than_it_says_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As files of /proc, which say that they are empty, and may have no end."""
    for name in ("a", "large", "z"):
        (tmp_path / name).write_bytes(bytes(9))
    monkeypatch.setattr(copying, "_START", 10)
    (tmp_path / "large").write_bytes(bytes(11))
    of_file = tarfile.TarFile.gettarinfo

    def gettarinfo(self: tarfile.TarFile, *arguments: Any) -> tarfile.TarInfo:
        entry = of_file(self, *arguments)
        entry.size = 0
        return entry

    monkeypatch.setattr(tarfile.TarFile, "gettarinfo", gettarinfo)
    incoming = _Incoming(tmp_path, "/", inside=True, recursive=True)
    incoming._pack(packed := io.BytesIO(), "made", tally := _Tally(None, 0))
    packed.seek(0)
    with tarfile.open(fileobj=packed) as tar:
        found = {entry.name: entry.size for entry in tar.getmembers()}
    assert found == {"made": 0, "made/a": 9, "made/z": 9}
    assert (incoming.counts["files"], tally.done) == (2, 18)
    reason = "says that it has 0 bytes, and has 10 or more"
    assert incoming.skipped == [SkippedFile(path=str(tmp_path / "large"), reason=reason)]
    with pytest.raises(OSError, match=reason):
        _Incoming(tmp_path / "large", "/", True, True)._pack(io.BytesIO(), "made", _Tally(None, 0))


@pytest.mark.parametrize("text", [b"", b"a line"])
def test_a_file_without_an_end_was_waited_for_for_ever(
    text: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As /proc/kmsg and trace_pipe, of which root alone can be told: a FIFO that is called a file."""
    (tmp_path / "a").write_bytes(bytes(9))
    os.mkfifo(tmp_path / "log")
    of_file = tarfile.TarFile.gettarinfo

    def gettarinfo(self: tarfile.TarFile, *arguments: Any) -> tarfile.TarInfo:
        entry = of_file(self, *arguments)
        entry.type = tarfile.REGTYPE if entry.isfifo() else entry.type
        return entry

    monkeypatch.setattr(tarfile.TarFile, "gettarinfo", gettarinfo)
    tree = _Incoming(tmp_path, "/", inside=True, recursive=True)
    alone = _Incoming(tmp_path / "log", "/", inside=True, recursive=False)
    with ThreadPoolExecutor(2) as threads, open(tmp_path / "log", "r+b", buffering=0) as writer:
        for incoming in (tree, alone):
            writer.write(text)
            packing = threads.submit(incoming._pack, io.BytesIO(), "made", _Tally(None, 0))
            try:
                error = packing.exception(timeout=20)
            finally:
                if not packing.done():
                    writer.close()
            assert (error is None) == (incoming is tree)
    reason = "has no end: who reads it waits for more"
    assert tree.skipped == [SkippedFile(path=str(tmp_path / "log"), reason=reason)]
    assert tree.counts["files"] == 1
    assert isinstance(error, OSError)
    assert (error.strerror, error.filename) == (reason, str(tmp_path / "log"))


INTERRUPTED = """
import sys, threading
from pathlib import Path
from guestkit.copying import _Incoming, _Tally

start = threading.Thread.start

def interrupted(thread):
    start(thread)
    raise KeyboardInterrupt

threading.Thread.start = interrupted
_Incoming(Path(sys.argv[1]), "/", True, False)._transfer(None, "/made", _Tally(None, 0))
"""


def test_ctrl_c_while_the_reader_starts_left_a_thread_that_nobody_could_end(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(1 << 20))  # more than a pipe holds
    command = [sys.executable, "-c", INTERRUPTED, str(tmp_path / "file")]
    done = subprocess.run(command, stderr=subprocess.PIPE, timeout=20, check=False)
    assert done.stderr.splitlines()[-1] == b"KeyboardInterrupt"
