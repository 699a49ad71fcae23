"""GuestFileSystem without an appliance: its options, its instances, its errors."""

from __future__ import annotations

import asyncio
import errno
import gc
import gzip
import json
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import tomllib
from collections.abc import AsyncIterator, Callable
from functools import partial
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self, TypeVar, cast

import fsspec  # type: ignore[import-untyped]
import pytest
from fsspec.callbacks import Callback  # type: ignore[import-untyped]
from fsspec.core import url_to_fs  # type: ignore[import-untyped]
from fsspec.exceptions import FSTimeoutError  # type: ignore[import-untyped]

from guestkit import CallTimeout, Error, Guestfs, HandleClosed, HandleOptions, Key, under
from guestkit._file_errors import about
from guestkit._operations import Entry, Place
from guestkit.files import FileKind, GuestFile
from guestkit.fs import GuestFileSystem
from guestkit.fs.connection import Connection, _connections
from guestkit.fs.file import BufferedGuestFile, StreamedGuestFile
from guestkit.fs.listings import Listings
from guestkit.guest import finish

ROOT = Path(__file__).resolve().parents[2]

T = TypeVar("T")


@pytest.fixture(autouse=True)
def _forget() -> Any:
    yield
    GuestFileSystem.clear_instance_cache()


# ---- names


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("guestkit:///etc/hosts", "/etc/hosts"),
        ("guestkit://etc/hosts", "/etc/hosts"),
        ("guestkit://", "/"),
        ("guestkit::/etc", "/etc"),
        ("etc/", "/etc"),
        ("", "/"),
        ("//etc/./ssh/../hosts//", "/etc/hosts"),
        ("/../../etc", "/etc"),
        (Path("/etc/hosts"), "/etc/hosts"),
        (b"/\xff", "/\udcff"),
        (["/a/", "b"], ["/a", "/b"]),
    ],
)
def test_paths_in_the_guest_are_absolute(given: Any, path: Any) -> None:
    assert GuestFileSystem._strip_protocol(given) == path


def test_a_url_names_the_path_and_the_disk(tmp_path: Path) -> None:
    fs, path = url_to_fs(f"guestkit:///etc/os-release::file://{tmp_path}/web.qcow2")
    assert (type(fs), path) == (GuestFileSystem, "/etc/os-release")
    assert fs._disk.guest == (f"{tmp_path}/web.qcow2",)
    assert fs.unstrip_protocol(path) == "guestkit:///etc/os-release"
    fs, _ = url_to_fs("guestkit:///x", fo="nbd://host/export", protocols=["nbd"])
    assert fs._disk.guest == ("nbd://host/export",)


def test_one_disk_by_many_names_is_one_filesystem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    one = GuestFileSystem("web.qcow2", root="/dev/sda1", in_use="refuse")
    assert one is GuestFileSystem(tmp_path / "web.qcow2", in_use="refuse", root="/dev/sda1")
    assert one is GuestFileSystem([b"web.qcow2"], root="/dev/sda1", in_use="refuse")
    assert one is GuestFileSystem(f"file://{tmp_path}/web.qcow2", root="/dev/sda1", in_use="refuse")
    assert one is not GuestFileSystem("web.qcow2", root="/dev/sda2", in_use="refuse")
    assert one is not GuestFileSystem(["web.qcow2", "data.qcow2"], root="/dev/sda1", in_use="refuse")
    assert one is not GuestFileSystem(
        "web.qcow2", root="/dev/sda1", in_use="refuse", skip_instance_cache=True
    )
    monkeypatch.chdir("/")
    assert pickle.loads(pickle.dumps(one)) is one
    assert GuestFileSystem.from_json(one.to_json()) is one
    assert json.loads(one.to_json())["fo"] == [f"{tmp_path}/web.qcow2"]


def test_other_keys_are_another_filesystem() -> None:
    """Regression: the text of a key hides it, and by their texts fsspec tells options apart."""
    one = GuestFileSystem("disk", keys=[Key("first")])
    other = GuestFileSystem("disk", keys=[Key("second")])
    assert one is not other
    assert one != other
    assert one is GuestFileSystem("disk", keys=(Key("first"),))
    assert "first" not in repr(one.storage_options)
    assert pickle.loads(pickle.dumps(one)) is one
    assert [key.passphrase for key in one._disk.keys] == ["first"]


def test_a_directory_for_backing_files_has_its_full_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fs = GuestFileSystem("disk", format="qcow2", backing=under("images"))
    assert fs._disk.opening.backing == under(str(tmp_path / "images"))


def test_two_handles_are_two_filesystems() -> None:
    with Guestfs() as one, Guestfs() as other:
        first, second = GuestFileSystem(handle=one), GuestFileSystem(handle=other)
        assert first != second
        assert first is not GuestFileSystem(handle=one)
        assert not GuestFileSystem._cache
        with pytest.raises(TypeError, match="with a handle cannot be pickled"):
            pickle.dumps(first)
        first.close()
        assert one.is_open()


def test_the_package_tells_fsspec_where_the_protocol_is() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    told = EntryPoint("guestkit", project["entry-points"]["fsspec.specs"]["guestkit"], "fsspec.specs")
    assert told.load() is GuestFileSystem
    assert [line for line in project["optional-dependencies"]["fs"] if line.startswith("fsspec")]
    assert fsspec.get_filesystem_class("guestkit") is GuestFileSystem


# ---- what is refused


@pytest.mark.parametrize(
    ("arguments", "options", "kind", "text"),
    [
        ((), {}, TypeError, "needs the path of a disk, as in guestkit:///etc/hosts::file:///"),
        (([],), {}, TypeError, "needs the path of a disk"),
        ((3,), {}, TypeError, "needs the path of a disk"),
        (("a", "b"), {}, TypeError, "takes one disk, or a sequence of disks"),
        (("a",), {"fo": "b"}, TypeError, "twice"),
        (("a",), {"handle": object()}, TypeError, "a disk or a handle"),
        ((), {"handle": object()}, TypeError, "must be Guestfs or AsyncGuestfs, not object"),
        (("a",), {"redonly": False}, TypeError, "^GuestFileSystem.. got an unexpected keyword.*'redonly'$"),
        (("a",), {"readonly": 0}, TypeError, "'readonly' must be bool"),
        (("a",), {"in_use": "maybe"}, ValueError, "in_use"),
        (("a",), {"backing": "maybe"}, ValueError, "backing"),
        (("a",), {"accel": "fast"}, ValueError, "accel"),
        (("a",), {"options": "fast"}, TypeError, "GuestFileSystem.. takes HandleOptions"),
    ],
)
def test_wrong_arguments_are_refused_at_once(
    arguments: tuple[Any, ...], options: dict[str, Any], kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=text):
        GuestFileSystem(*arguments, **options)


def test_a_disk_behind_another_protocol_is_refused_with_a_way_out() -> None:
    with pytest.raises(ValueError, match=r"no disks by memory://.*open_local\(.simplecache::memory://"):
        fsspec.open("guestkit:///etc/hosts::memory://web.qcow2")


def test_a_disk_that_cannot_be_opened_is_no_missing_file(tmp_path: Path) -> None:
    """Regression: fsspec takes FileNotFoundError for an answer, and finds nothing on a missing disk."""
    fs = GuestFileSystem(tmp_path / "nope.qcow2")
    for use in (fs.exists, fs.isfile, fs.isdir, fs.find, fs.ls, lambda path: list(fs.walk(path))):
        with pytest.raises(Error, match=r"nope\.qcow2: no such file") as caught:
            use("/etc")
        assert not isinstance(caught.value, OSError)


def test_options_of_the_handle_are_passed_on(tmp_path: Path) -> None:
    fs = GuestFileSystem("disk", options=HandleOptions(accel="tcg"), call_timeout=5)
    assert (fs._disk.handle.accel, fs._disk.handle.call_timeout) == ("tcg", 5)
    assert GuestFileSystem("disk")._disk.handle.appliance == "inspection"


# ---- open files


@pytest.mark.parametrize(
    ("size", "line"),
    [(1 << 12, b"x" * (1 << 12)), (1 << 15, b"x" * 1999 + b"\n"), (1 << 15, b"x" * (1 << 12) + b"\n")],
)
def test_a_line_was_read_although_max_bytes_is_less(
    monkeypatch: pytest.MonkeyPatch, size: int, line: bytes
) -> None:
    fs, most = GuestFileSystem("disk", max_bytes=1 << 12), 1 << 12
    content = line.ljust(size, b"y")
    monkeypatch.setattr(fs, "_fetch", lambda path, start, end: content[start:end])
    file = BufferedGuestFile(fs, "/f", "rb", 1 << 10, {"name": "/f", "size": size})
    if len(line) <= most:
        assert file.readline() == line
        assert file.tell() == len(line)
    else:
        for read in (file.readline, file.readlines, lambda: next(file)):
            with pytest.raises(OSError, match="max_bytes") as caught:
                read()
            assert caught.value.errno == errno.EFBIG
            file.seek(0)


def test_a_text_in_two_blocks_was_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    fs, content = GuestFileSystem("disk"), b"a" * 1023 + b"--" + b"rest"
    monkeypatch.setattr(fs, "_fetch", lambda path, start, end: content[start:end])
    file = BufferedGuestFile(fs, "/f", "rb", 1 << 10, {"name": "/f", "size": len(content)})
    assert file.readuntil(b"--") == content[:1025]
    assert (file.read(), file.readline()) == (b"rest", b"")
    monkeypatch.setattr(fs, "_fetch", lambda path, start, end: b"")
    file = BufferedGuestFile(fs, "/f", "rb", 1 << 10, {"name": "/f", "size": 9})
    assert file.readline() == b""  # meanwhile the file became shorter


def test_a_cache_read_the_whole_file_although_max_bytes_is_less(monkeypatch: pytest.MonkeyPatch) -> None:
    fs = GuestFileSystem("disk", max_bytes=1 << 12)
    monkeypatch.setattr(fs, "_fetch", lambda path, start, end: bytes(end - start))
    with pytest.raises(OSError, match="max_bytes"):
        BufferedGuestFile(fs, "/f", "rb", 1 << 10, {"name": "/f", "size": 1 << 30}, cache_type="all")
    file = BufferedGuestFile(fs, "/f", "rb", 1 << 10, {"name": "/f", "size": 1 << 30})
    assert len(file.read(1 << 12)) == 1 << 12  # and what it reads ahead


class Disk:
    """In place of a guest: files, of which the operations of `fs.file` write some.

    Attributes:
        full: whether nothing more can be written
    """

    def __init__(self, fs: GuestFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
        self.files = {"/t": b"old"}
        self.full = False

        async def run(function: Any, *arguments: Any) -> Any:
            return getattr(self, function.__name__)(*arguments)

        monkeypatch.setattr(fs, "_run", run)

    def begin(self, path: str, mode: str, aside: bool, parents: bool) -> Place:
        self.files[f"{path}.new"] = b""
        return Place(f"{path}.new", 0, path)

    def write(self, path: str, data: bytes, offset: int) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "", path)
        self.files[path] = self.files[path][:offset] + data

    def settle(self, place: Place, keep: bool) -> None:
        content = self.files.pop(place.path)
        if keep:
            self.files[place.final] = content


@pytest.mark.parametrize("mode", ["wb", "wt"])
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_file_that_nobody_closed_in_a_transaction_became_empty(
    mode: str, compression: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs = GuestFileSystem("disk", readonly=False, format="raw")
    guest = Disk(fs, monkeypatch)
    with fs.transaction:
        file = fs.open("/t", mode, compression=compression)
        file.write(b"new" if mode == "wb" else "new")
    written = guest.files["/t"] if compression is None else gzip.decompress(guest.files["/t"])
    assert (written, list(guest.files)) == (b"new", ["/t"])
    file.close()
    with pytest.raises(LookupError), fs.transaction:
        file = fs.open("/t", mode)
        file.write(b"never" if mode == "wb" else "never")
        raise LookupError
    if mode == "wb":
        file.close()
    assert list(guest.files) == ["/t"]


def test_a_file_whose_last_part_could_not_be_written_replaced_the_old_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fs = GuestFileSystem("disk", readonly=False, format="raw")
    guest = Disk(fs, monkeypatch)
    with pytest.raises(OSError, match="stays as it was"), fs.transaction:
        file = fs.open("/t", "wb")
        file.write(b"new")
        guest.full = True
        with pytest.raises(OSError, match="/t.new"):
            file.close()
    assert guest.files == {"/t": b"old"}


# ---- what ends a call


class Turns:
    """In place of a guest: a directory /tree of 40 files, of which each turn reads or writes one.

    Attributes:
        begun, cancelled: how many turns
        at: in which turn `then` is called, on the loop, before the turn waits for `go`
    """

    def __init__(self, fs: GuestFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = self.cancelled = 0
        self.at = -1
        self.then: Callable[[], object] = lambda: None
        self.go = asyncio.Event()
        monkeypatch.setattr(fs, "_run", self._run)
        monkeypatch.setattr(fs, "_find", self._find)
        monkeypatch.setattr(fs, "_info", self._info)

    async def _find(self, path: str, **options: Any) -> list[str]:
        return [path, *(f"{path}/{number:02}" for number in range(40))]

    async def _info(self, path: str, **options: Any) -> dict[str, Any]:
        if path == "/new":
            raise FileNotFoundError(errno.ENOENT, "", path)
        kind, mode = ("directory", 0o040755) if path == "/tree" else ("file", 0o100644)
        return {"name": path, "type": kind, "mode": mode, "size": 3, "islink": False}

    async def _run(self, function: Any, *arguments: Any) -> Any:
        self.begun += 1
        if self.begun == self.at:
            self.then()
            try:
                await self.go.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        return 1  # byte, where some are read

    async def closed(self) -> None:
        """In place of a connection's close: what runs has an end."""
        self.go.set()


def closable(fs: GuestFileSystem, monkeypatch: pytest.MonkeyPatch) -> Turns:
    """Return Turns that are refused after a close, as those of an appliance are."""
    turns = Turns(fs, monkeypatch)
    appliance = SimpleNamespace(run=turns._run, close=turns.closed, reap=lambda: None)
    monkeypatch.setattr(fs, "_run", partial(GuestFileSystem._run, fs))
    monkeypatch.setattr(fs, "_guest", appliance)
    return turns


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "tree").mkdir()
    for number in range(40):
        (tmp_path / "tree" / f"{number:02}").write_bytes(b"abc")
    return tmp_path / "tree"


BULK: dict[str, Callable[[Any, Path], Any]] = {
    "put": lambda fs, tree: (fs.put, (str(tree), "/new"), {"recursive": True}),
    "get": lambda fs, tree: (fs.get, ("/tree", str(tree / "got")), {"recursive": True}),
    "cp": lambda fs, tree: (fs.copy, ("/tree", "/new"), {"recursive": True}),
    "pipe": lambda fs, tree: (fs.pipe, ({f"/tree/{number}": b"" for number in range(40)},), {}),
    "rm": lambda fs, tree: (fs.rm, ([f"/tree/{number}" for number in range(40)],), {}),
    "mv": lambda fs, tree: (fs.mv, ([f"/tree/{number}" for number in range(40)], "/new"), {}),
    "rm in parts": lambda fs, tree: (fs.rm, ("/tree",), {"recursive": True, "maxdepth": 1}),
}


@pytest.mark.parametrize("asked", BULK.values(), ids=BULK)
def test_what_ctrl_c_had_ended_went_on(
    asked: Callable[[Any, Path], Any], tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs = GuestFileSystem("disk", readonly=False, format="raw")
    turns = Turns(fs, monkeypatch)
    turns.at, turns.then = 3, lambda: os.kill(os.getpid(), signal.SIGINT)
    call, arguments, options = asked(fs, tree)
    with pytest.raises(KeyboardInterrupt):
        call(*arguments, **options)
    assert (turns.begun, turns.cancelled) == (3, 1)


def test_a_second_ctrl_c_does_not_wait_for_a_call_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    fs, go, ended = GuestFileSystem("disk"), asyncio.Event(), threading.Event()

    async def hang(*arguments: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await go.wait()
        except asyncio.CancelledError:
            os.kill(os.getpid(), signal.SIGINT)
            await go.wait()
        ended.set()

    monkeypatch.setattr(fs, "_run", hang)
    with pytest.raises(KeyboardInterrupt):
        fs.ls("/")
    assert fs.loop is not None
    fs.loop.call_soon_threadsafe(go.set)
    assert ended.wait(60)


def test_a_blocking_method_on_its_own_loop_does_not_wait_for_itself() -> None:
    fs = GuestFileSystem("disk")
    assert fs.loop is not None

    async def look() -> None:
        fs.ls("/")

    with pytest.raises(RuntimeError, match="await its twin"):
        asyncio.run_coroutine_threadsafe(look(), fs.loop).result(60)


def test_a_call_that_ctrl_c_had_kept_from_beginning_hung(monkeypatch: pytest.MonkeyPatch) -> None:
    fs = GuestFileSystem("disk")
    assert fs.loop is not None
    hand_over = fs.loop.call_soon_threadsafe

    def interrupted(*arguments: Any) -> None:
        monkeypatch.setattr(fs.loop, "call_soon_threadsafe", hand_over)
        raise KeyboardInterrupt

    monkeypatch.setattr(fs.loop, "call_soon_threadsafe", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fs.ls("/")


def test_what_a_timeout_had_ended_went_on(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fs = GuestFileSystem("disk", readonly=False, format="raw")
    turns, begin = Turns(fs, monkeypatch), asyncio.timeout
    limits: list[asyncio.Timeout] = []

    def limit(seconds: float) -> asyncio.Timeout:
        assert seconds == 3600
        limits.append(begin(seconds))
        return limits[0]

    monkeypatch.setattr("guestkit.fs.blocking.asyncio.timeout", limit)
    turns.at, turns.then = 3, lambda: limits[0].reschedule(0)  # which is over
    with pytest.raises(FSTimeoutError):
        fs.put(str(tree), "/new", recursive=True, timeout=3600)
    assert (turns.begun, turns.cancelled) == (3, 1)


@pytest.mark.parametrize("asked", BULK.values(), ids=BULK)
async def test_what_a_cancel_had_ended_went_on(
    asked: Callable[[Any, Path], Any], tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs = GuestFileSystem("disk", readonly=False, format="raw", asynchronous=True)
    turns = Turns(fs, monkeypatch)
    turns.at = 3
    call, arguments, options = asked(fs, tree)
    task = asyncio.create_task(getattr(fs, f"_{call.__name__.lstrip('_')}")(*arguments, **options))
    turns.then = task.cancel
    with pytest.raises(asyncio.CancelledError):
        await task
    turns.go.set()
    await _turns()
    assert (turns.begun, turns.cancelled) == (3, 1)


@pytest.mark.parametrize("asked", BULK.values(), ids=BULK)
async def test_what_ran_when_the_disk_was_closed_opened_it_again(
    asked: Callable[[Any, Path], Any], tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs = GuestFileSystem("disk", readonly=False, format="raw", asynchronous=True)
    turns = closable(fs, monkeypatch)
    begun = asyncio.Event()
    turns.at, turns.then = 3, begun.set
    call, arguments, options = asked(fs, tree)
    task = asyncio.create_task(getattr(fs, f"_{call.__name__.lstrip('_')}")(*arguments, **options))
    await begun.wait()
    await fs._close()
    with pytest.raises(HandleClosed, match="while this call ran"):
        await task
    assert turns.begun == 3
    await fs._pipe({"/tree/new": b""})  # the next call opens it again
    assert turns.begun == 4


async def test_what_is_only_read_goes_on_after_a_close(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that open the same disk share a filesystem: another one's close is not the end of what is read."""
    fs = GuestFileSystem("disk", asynchronous=True)
    turns = closable(fs, monkeypatch)
    begun = asyncio.Event()
    turns.at, turns.then = 3, begun.set
    task = asyncio.create_task(fs._get("/tree", str(tree / "got"), recursive=True))
    await begun.wait()
    await fs._close()
    await task
    assert turns.begun == 40


class Making(Callback):  # type: ignore[misc]
    """Makes a task during a call."""

    def __init__(self, function: Callable[[], Any]) -> None:
        super().__init__()
        self.function = function
        self.tasks: list[asyncio.Task[Any]] = []

    def set_size(self, size: int) -> None:
        self.tasks.append(asyncio.create_task(self.function()))


@pytest.mark.parametrize(
    "write", [lambda fs: fs._pipe_file("/x", b""), lambda fs: fs._pipe("/x", b"")], ids=["turn", "call"]
)
async def test_a_call_after_a_close_failed_in_a_task_that_an_ended_call_had_made(
    write: Callable[[GuestFileSystem], Any], tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs = GuestFileSystem("disk", readonly=False, format="raw", asynchronous=True)
    turns, closed = closable(fs, monkeypatch), asyncio.Event()

    async def later() -> None:
        await closed.wait()
        await write(fs)

    making = Making(later)
    await fs._put_file(str(tree / "00"), "/new", callback=making)
    await fs._close()
    closed.set()
    await making.tasks[0]
    assert turns.begun == 2


@pytest.mark.parametrize("call", ["put", "get"])
async def test_a_close_left_a_part_of_a_file_and_did_not_name_it(
    call: str, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guestkit.fs.copies.CHUNK", 1)
    fs = GuestFileSystem("disk", readonly=False, format="raw", asynchronous=True)
    turns, begun = closable(fs, monkeypatch), asyncio.Event()
    turns.at, turns.then = 2, begun.set
    guests, hosts = "/tree/\x1b", str(tree / "00")
    copied = fs._put([hosts], [guests]) if call == "put" else fs._get([guests], [hosts])
    task = asyncio.create_task(copied)
    await begun.wait()
    await fs._close()
    with pytest.raises(HandleClosed) as caught:
        await task
    assert caught.value.message.startswith(r"/tree/\x1b: its copy is incomplete: the filesystem was closed")
    assert turns.begun == 2


class Begun(Callback):  # type: ignore[misc]
    """Counts the files that are begun."""

    count = 0

    def branched(self, path_1: str, path_2: str, **kwargs: Any) -> Callback:
        self.count += 1
        return Callback()


def test_a_put_read_many_files_before_their_turns(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two MiB of each: those of a large tree filled the memory."""
    fs = GuestFileSystem("disk", readonly=False, format="raw")
    turns, begun = Turns(fs, monkeypatch), Begun()
    counts: list[int] = []
    turns.at, turns.then = 2, lambda: counts.append(begun.count)
    turns.go.set()
    fs.put(str(tree), "/new", recursive=True, callback=begun)
    assert counts == [2]  # the directory, and its first file
    assert (begun.count, begun.size, begun.value) == (41, 41, 41)


def test_a_put_of_a_directory_with_a_fifo_never_ended(
    tree: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As those of a guest, what is no file, and leads to none, is left out with a warning."""
    fs = GuestFileSystem("disk", readonly=False, format="raw")
    turns = Turns(fs, monkeypatch)
    os.mkfifo(tree / "fifo\x1b")
    for name, leads_to in {"to-fifo": "fifo\x1b", "nowhere": "nope", "to-file": "00"}.items():
        (tree / name).symlink_to(leads_to)
    (tree / "below").mkdir()
    (tree / "below" / "to-directory").symlink_to("..")
    for what, options in ((tree, {"recursive": True}), (f"{tree}/*", {"recursive": True}), (f"{tree}/*", {})):
        caplog.clear()
        turns.begun = 0
        fs.put(what, "/new", **options)
        told = {message.removeprefix(f"'{tree}/") for message in caplog.messages}
        left_out = {
            "fifo\\x1b': not copied: a FIFO, which is not opened",
            "to-fifo': not copied: a FIFO, which is not opened",
            "nowhere': not copied: No such file or directory",
        }
        if options:
            left_out.add("below/to-directory': not copied: a symlink to a directory")
        assert told == left_out
        assert turns.begun == 41 + bool(options) + (what == tree)
    with pytest.raises(FileNotFoundError):
        fs.put(str(tree / "nowhere"), "/new")


def test_a_put_of_a_fifo_never_ended(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fs = GuestFileSystem("disk", readonly=False, format="raw")
    turns = Turns(fs, monkeypatch)
    fifo, link = tree / "fifo", tree / "link"
    os.mkfifo(fifo)
    link.symlink_to("fifo")
    for put, named in ((fs.put, str(fifo)), (fs.put_file, fifo), (fs.put, [str(link)])):
        with pytest.raises(OSError, match="a FIFO, which is not opened") as caught:
            put(named, ["/new"] if isinstance(named, list) else "/new")
        assert caught.value.errno == errno.EINVAL
    assert turns.begun == 0
    with open(tree / "00", "rb") as file:
        fs.put(f"/dev/fd/{file.fileno()}", "/new")
    assert turns.begun == 1


@pytest.mark.parametrize("size", [1, 3])
def test_a_get_into_a_fifo_that_nobody_reads_never_ended(
    size: int, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guestkit.fs.copies.CHUNK", size)
    fs = GuestFileSystem("disk")
    turns = Turns(fs, monkeypatch)

    async def run(function: Callable[..., Any], *arguments: Any) -> Any:
        await turns._run(function)
        return function(SimpleNamespace(pread=lambda *_, **__: memoryview(b"abc")), *arguments)

    monkeypatch.setattr(fs, "_run", run)
    fifo = tree / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(OSError, match="fifo") as caught:
        fs.get("/tree/00", str(fifo))
    assert caught.value.errno == errno.ENXIO
    with open(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK), "rb") as reader:
        fs.get("/tree/00", str(fifo))
        assert reader.read() == b"abc"


# ---- trees


class Tree:
    """In place of a guest: /a, /b/file, and the empty /spool, which once was large.

    spool: its size, in bytes
    """

    def __init__(self, fs: GuestFileSystem, monkeypatch: pytest.MonkeyPatch, spool: int = 1 << 30) -> None:
        self.spool = spool

        async def run(function: Any, *arguments: object) -> Any:
            return function(self, *arguments)

        monkeypatch.setattr(fs, "_run", run)

    def statns(self, path: str) -> dict[str, int]:
        facts = dict.fromkeys(("st_uid", "st_gid", "st_mtime_sec"), 0) | {"st_mode": 0o040755}
        return facts | {"st_size": self.spool if path == "/spool" else 4096}

    def lstatns(self, path: str) -> dict[str, int]:
        if "*" in path:
            raise Error("lstatns", f"{path}: no such file", errno.ENOENT)
        return self.statns(path)

    def _walked(self, path: str, max_depth: int, max_entries: int, size: int) -> list[GuestFile]:
        size = self.statns(path)["st_size"] if size < 0 else size
        if size / 128 > max(max_entries, 16384):
            raise Error("readdir", f"{path}: its names take {size} bytes", errno.EFBIG)
        found: dict[str, dict[str, FileKind]] = {"/": {"/a": "-", "/b": "d", "/spool": "d"}}
        found |= {"/b": {"/b/file": "-"}, "/spool": {}}
        inside = found[path]
        if len(inside) > max_entries:
            raise Error("walk", f"{path}: more than {max_entries} entries", errno.EFBIG)
        facts: Any = {"mode": 0o644, "uid": 0, "gid": 0, "mtime": 0, "target": ""}
        return [
            GuestFile(
                path=path,
                kind=kind,
                size=self.spool if path == "/spool" else 3,
                not_entered=kind == "d",
                **facts,
            )
            for path, kind in inside.items()
        ]


def test_a_directory_that_once_was_large_failed_the_whole_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    fs = GuestFileSystem("disk")
    Tree(fs, monkeypatch)
    assert fs.find("/") == ["/a", "/b/file"]
    assert fs.du("/") == 6
    assert [path for path, _, _ in fs.walk("/")] == ["/", "/b", "/spool"]
    told: list[OSError] = []
    fs.find("/", on_error=told.append)
    list(fs.walk("/", on_error=told.append))
    assert [(error.errno, error.filename) for error in told] == [(errno.EFBIG, "/spool")] * 2
    for look in (fs.ls, fs.find, fs.du, lambda path: list(fs.walk(path))):
        with pytest.raises(OSError, match="names that once took more space"):
            look("/spool")


def test_what_exceeds_the_limit_of_a_whole_tree_is_no_directory_to_leave_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Regression: what was left of the limit was that of a directory, which then passed for a damaged one."""
    most = 20_000
    fs = GuestFileSystem("disk", max_entries=most)
    tree = Tree(fs, monkeypatch, spool=128 * most)
    assert fs.find("/", on_error="raise") == ["/a", "/b/file"]
    tree.spool += 128
    with pytest.raises(OSError, match="names that once took more space") as caught:
        fs.find("/", on_error="raise")
    assert caught.value.filename == "/spool"
    for most, directory in ((2, "/"), (3, "/b")):
        fs = GuestFileSystem("disk", max_entries=most)
        Tree(fs, monkeypatch)
        with pytest.raises(OSError, match="more files than the limit") as caught:
            fs.find("/")
        assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, directory)


def test_the_paths_of_a_tree_were_not_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    fs = GuestFileSystem("disk")
    Tree(fs, monkeypatch)
    monkeypatch.setattr("guestkit._operations.trees.MAX_TEXT", len("/a/b/spool/b/file") - 1)
    with pytest.raises(OSError, match="MiB of paths") as caught:
        fs.find("/")
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, "/b")


async def _listed(found: AsyncIterator[Any]) -> list[Any]:
    return [one async for one in found]


LOOKS: dict[str, Callable[[GuestFileSystem], Any]] = {
    "cat_ranges": lambda fs: fs._cat_ranges(["/"] * 65, None, None),
    "sizes": lambda fs: fs._sizes(["/", "/b"]),
    "find": lambda fs: fs._find("/"),
    "du": lambda fs: fs._du("/"),
    "glob": lambda fs: fs._glob("/*"),
    "expand_path": lambda fs: fs._expand_path("/*"),
    "walk": lambda fs: _listed(fs._walk("/")),
}


@pytest.mark.parametrize("readonly", [False, True], ids=["written to", "read-only"])
@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
async def test_what_only_looked_opened_a_disk_to_write_after_its_close(
    look: Callable[[GuestFileSystem], Any], readonly: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs = GuestFileSystem("disk", readonly=readonly, format="raw", asynchronous=True)
    tree = Tree(fs, monkeypatch)
    turns = closable(fs, monkeypatch)
    for name in ("_find", "_info"):
        monkeypatch.setattr(fs, name, partial(getattr(GuestFileSystem, name), fs))
    begun = asyncio.Event()
    turns.at, turns.then = 1, begun.set

    async def run(function: Callable[[Any], T]) -> T:
        await turns._run(function)
        return function(tree)

    monkeypatch.setattr(fs._guest, "run", run)
    task = asyncio.create_task(look(fs))
    await begun.wait()
    await fs._close()
    if readonly:
        await task
        assert turns.begun > 1
    else:
        with pytest.raises(HandleClosed, match="while this call ran"):
            await task
        assert turns.begun == 1


# ---- what is remembered


class Guest:
    """In place of a guest: a file in each directory but those that are gone or empty.

    Attributes:
        asked: which directories were asked for
    """

    def __init__(self, fs: GuestFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.gone: set[str] = set()
        monkeypatch.setattr(fs, "_run", self._run)

    async def _run(self, function: object, path: str, *_: object) -> list[Entry]:
        self.asked.append(path)
        if path in self.gone:
            raise FileNotFoundError(errno.ENOENT, "", path)
        return [] if "empty" in path else cast("list[Entry]", [{"name": f"{path}/file", "type": "file"}])


def test_a_directory_counted_each_time_it_was_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Soon all that was remembered was forgotten, although it was little."""
    monkeypatch.setattr("guestkit.fs.listings.MOST", 6)
    fs = GuestFileSystem("disk")
    guest = Guest(fs, monkeypatch)
    fs.ls("/kept")
    for _ in range(5):
        fs.ls("/other", refresh=True)
    for _ in range(5):
        fs.ls("/third")
        fs.invalidate_cache("/third")
    asked = len(guest.asked)
    assert fs.info("/kept/file")["type"] == "file"
    assert len(fs.ls("/other")) == 1
    assert len(guest.asked) == asked


def test_what_was_forgotten_counted_as_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guestkit.fs.listings.MOST", 4)
    fs = GuestFileSystem("disk")
    guest = Guest(fs, monkeypatch)
    for forget in (fs.invalidate_cache, fs.close, fs.dircache.clear):
        for number in range(3):
            fs.ls(f"/old/{number}")
        forget()
        fs.ls("/a")
        fs.ls("/b")
        asked = len(guest.asked)
        fs.ls("/a")
        fs.ls("/b")
        assert len(guest.asked) == asked, forget
        fs.invalidate_cache()


def test_a_listing_that_had_expired_counted_as_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guestkit.fs.listings.MOST", 4)
    now = 0.0
    monkeypatch.setattr("guestkit.fs.listings.time", SimpleNamespace(monotonic=lambda: now))
    fs = GuestFileSystem("disk", listings_expiry_time=10)
    guest = Guest(fs, monkeypatch)
    for now in (0.0, 10.0, 20.0, 30.0):  # noqa: B007
        fs.ls("/old")
    fs.ls("/a")
    fs.ls("/old")
    assert guest.asked == ["/old"] * 4 + ["/a"]


def test_all_was_forgotten_when_one_listing_was_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guestkit.fs.listings.MOST", 4)
    fs = GuestFileSystem("disk")
    guest = Guest(fs, monkeypatch)
    for path in ("/a", "/b", "/c", "/b", "/a"):
        fs.ls(path)
    assert guest.asked == ["/a", "/b", "/c", "/a"]


def test_empty_directories_were_remembered_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guestkit.fs.listings.MOST", 4)
    fs = GuestFileSystem("disk")
    Guest(fs, monkeypatch)
    for number in range(10):
        fs.ls(f"/empty/{number}")
    assert list(fs.dircache) == [f"/empty/{number}" for number in range(6, 10)]


def test_what_is_beyond_max_paths_stayed_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    fs = GuestFileSystem("disk", max_paths=2)
    Guest(fs, monkeypatch)
    for path in ("/a", "/b", "/c"):
        fs.ls(path)
    assert len(fs.dircache) == 2
    assert set(fs.dircache) == {"/b", "/c"}


def test_a_negative_max_paths_remembers_nothing() -> None:
    kept = Listings(remember=True, seconds=None, directories=-1)
    kept.remember("/a", [])
    assert dict(kept) == {}


def test_a_directory_that_was_found_to_be_gone_was_still_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    fs = GuestFileSystem("disk")
    guest = Guest(fs, monkeypatch)
    fs.ls("/a")
    guest.gone.add("/a")
    for refresh in (True, False):
        with pytest.raises(FileNotFoundError):
            fs.ls("/a", refresh=refresh)


def test_nothing_is_remembered_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    fs = GuestFileSystem("disk", use_listings_cache=False)
    guest = Guest(fs, monkeypatch)
    fs.ls("/a")
    fs.ls("/a")
    assert guest.asked == ["/a", "/a"]
    assert len(fs.dircache) == 0


# ---- launches


async def test_a_launch_does_not_fail_with_the_error_of_another_disk(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Regression: it closed a filesystem whose caller had gone while it opened, and raised its error."""
    disks = [GuestFileSystem(name, asynchronous=True)._disk for name in ("unused", "wanted")]
    unused, wanted = map(Connection, disks)
    began, closing, launched = asyncio.Event(), asyncio.Event(), object()

    async def fail(options: HandleOptions) -> Any:
        began.set()
        await closing.wait()
        raise Error("open_disks", "unused: is empty", errno.EINVAL)

    async def launch(options: HandleOptions) -> Any:
        if options.admission_timeout == 0:
            raise CallTimeout("launch", "no memory", errno.ETIMEDOUT, clock="admission_timeout")
        return launched

    monkeypatch.setattr(unused, "_attempt", fail)
    monkeypatch.setattr(wanted, "_attempt", launch)
    caller = asyncio.create_task(unused.run(lambda g: None))
    await began.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    caplog.set_level(logging.INFO, "guestkit")
    asyncio.get_running_loop().call_soon(closing.set)
    assert await wanted._launched(None) is launched
    assert "unused: is empty" in caplog.text


async def test_a_launch_that_failed_after_its_caller_had_gone_was_logged_as_an_error(
    monkeypatch: pytest.MonkeyPatch, shield_tells: None
) -> None:
    """Regression: since Python 3.14, "Error exception in shielded future" with a traceback."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    connection = Connection(GuestFileSystem("disk", asynchronous=True)._disk)
    began, closing = asyncio.Event(), asyncio.Event()

    async def fail(options: HandleOptions) -> Any:
        began.set()
        await closing.wait()
        raise Error("open_disks", "disk: is empty", errno.EINVAL)

    monkeypatch.setattr(connection, "_attempt", fail)
    caller = asyncio.create_task(connection.run(lambda g: None))
    await began.wait()
    opening = connection._open()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    closing.set()
    await asyncio.wait([opening])
    await asyncio.sleep(0)
    assert complaints == []


class Closing(Connection):
    """A connection that another thread closes once somebody has looked at it."""

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name == "_opening":
            self._opening = None
        return found


async def test_a_launch_failed_where_other_loops_opened_and_closed_filesystems(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def attempt(self: Connection, options: HandleOptions) -> Any:
        return object()

    monkeypatch.setattr(Connection, "_attempt", attempt)
    disk = GuestFileSystem("disk", asynchronous=True)._disk
    asking, opened, late, closing = (kind(disk) for kind in (Connection, Connection, Connection, Closing))
    opening, _ = await opened._living()
    getpid = os.getpid

    def meanwhile() -> int:  # what another thread does
        if late._opening is None:
            late._open()
        return getpid()

    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", meanwhile)
        assert asking._idle() is opened
    _connections.add(closing)
    closing._opening, closing._used = opening, -1.0  # it was not used for the longest time
    assert asking._idle() is closing
    await late._living()


class Appliances:
    """In place of a connection's appliances: each writes to the disk until `go` lets its close end.

    Attributes:
        running: how many have the disk
        refused: how often one was launched while another had it
        unmounted: whether the last writes are done
        failure: of the last writes
    """

    def __init__(self, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
        self.running = self.refused = 0
        self.unmounted = False
        self.failure: Error | None = None
        self.launch, self.began, self.ends, self.go = (asyncio.Event() for _ in range(4))
        monkeypatch.setattr(connection, "_attempt", self._attempt)

    async def _attempt(self, options: HandleOptions) -> Any:
        self.began.set()
        await self.launch.wait()
        self.refused += self.running
        self.running += 1
        return self

    async def run(self, function: Callable[[Guestfs], T], on_cancel: str) -> T | None:
        if function is not finish:
            return function(cast("Guestfs", self))
        if self.failure is not None:
            raise self.failure
        self.unmounted = True
        return None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.ends.set()
        await self.go.wait()
        self.running -= 1


@pytest.fixture
def writable(monkeypatch: pytest.MonkeyPatch) -> tuple[Connection, Appliances]:
    connection = Connection(GuestFileSystem("disk", format="raw", readonly=False, asynchronous=True)._disk)
    return connection, Appliances(connection, monkeypatch)


async def _turns() -> None:
    """Let everything that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_call_launched_on_a_disk_that_a_close_had_not_left_yet(
    writable: tuple[Connection, Appliances],
) -> None:
    """QEMU refuses it: the disk is locked."""
    connection, appliances = writable
    appliances.launch.set()
    await connection.run(lambda g: None)
    closing = asyncio.create_task(connection.close())
    await appliances.ends.wait()
    late = asyncio.create_task(connection.run(lambda g: "written"))
    joining = asyncio.create_task(connection.close())  # of the late call's appliance
    await _turns()
    assert not any(task.done() for task in (closing, late, joining))
    appliances.go.set()
    await asyncio.gather(closing, joining)
    assert await late == "written"
    assert (appliances.refused, appliances.running) == (0, 0)


async def test_a_call_that_waited_for_the_launch_ran_when_a_close_had_unmounted_everything(
    writable: tuple[Connection, Appliances],
) -> None:
    connection, appliances = writable
    call = asyncio.create_task(connection.run(lambda g: appliances.unmounted))
    await appliances.began.wait()
    closing = asyncio.create_task(connection.close())
    await _turns()
    appliances.launch.set()
    appliances.go.set()
    await closing
    assert await call is False
    assert appliances.unmounted


async def test_a_second_close_returned_before_the_first_one(writable: tuple[Connection, Appliances]) -> None:
    connection, appliances = writable
    appliances.launch.set()
    await connection.run(lambda g: None)
    first = asyncio.create_task(connection.close())
    await appliances.ends.wait()
    second = asyncio.create_task(connection.close())
    await _turns()
    assert not second.done()
    appliances.go.set()
    await asyncio.gather(first, second)
    await connection.close()


@pytest.mark.parametrize("during", ["launch", "close"])
async def test_a_cancelled_close_left_the_appliance_running(
    during: str, writable: tuple[Connection, Appliances]
) -> None:
    connection, appliances = writable
    call = asyncio.create_task(connection.run(lambda g: None))
    await appliances.began.wait()
    closing = asyncio.create_task(connection.close())
    if during == "close":
        appliances.launch.set()
        await appliances.ends.wait()
    await _turns()
    closing.cancel()
    await _turns()
    appliances.launch.set()
    appliances.go.set()
    with pytest.raises(asyncio.CancelledError):
        await closing
    await call
    assert appliances.running == 0


async def test_writes_that_failed_in_a_cancelled_close_were_told_to_nobody(
    writable: tuple[Connection, Appliances], caplog: pytest.LogCaptureFixture
) -> None:
    connection, appliances = writable
    appliances.failure = Error("shutdown", "the disk is full", errno.ENOSPC)
    appliances.launch.set()
    await connection.run(lambda g: None)
    closing = asyncio.create_task(connection.close())
    await appliances.ends.wait()
    closing.cancel()
    appliances.go.set()
    with pytest.raises(asyncio.CancelledError):
        await closing
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is appliances.failure


# ---- awaited files


@pytest.mark.parametrize("length", [None, -1, 5])
async def test_an_awaited_read_past_the_end_told_of_too_many_bytes(
    length: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs = GuestFileSystem("disk", asynchronous=True)
    asked: list[tuple[int, int]] = []

    async def read(path: str, start: int, end: int) -> bytes:
        asked.append((start, end))
        return b"0123456789"[start:end]

    monkeypatch.setattr(fs, "_read", read)
    file = StreamedGuestFile(fs, "/f", "rb", None, {"name": "/f", "size": 10})
    file.seek(20)
    assert await file.read(length) == b""
    assert asked == []
    file.seek(7)
    assert await file.read(length) == b"789"


def test_a_file_that_nobody_closed_told_of_a_coroutine(recwarn: pytest.WarningsRecorder) -> None:
    fs = GuestFileSystem("disk", asynchronous=True)
    StreamedGuestFile(fs, "/read", "rb", None, {"size": 1})
    StreamedGuestFile(fs, "/written", "wb", None, Place("/written", 0))
    gc.collect()
    told = [str(one.message) for one in recwarn]  # others' garbage may have something to tell, too
    assert [text for text in told if "/written" in text] == [
        "'/written' was never closed: what was written last is lost"
    ]
    assert not [text for text in told if "/read" in text or "coroutine" in text]


# ---- errors


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOENT, FileNotFoundError),
        (errno.EEXIST, FileExistsError),
        (errno.EISDIR, IsADirectoryError),
        (errno.ENOTDIR, NotADirectoryError),
        (errno.EACCES, PermissionError),
        (errno.EROFS, PermissionError),
        (errno.ENOSPC, OSError),
        (0, OSError),
    ],
)
def test_an_error_becomes_that_of_python(number: int, kind: type[OSError]) -> None:
    error = Error("statns", "/x: \x1b]hostile", number)
    with pytest.raises(kind) as caught, about("/x"):
        raise error
    assert type(caught.value) is kind
    assert caught.value.errno == (number or errno.EIO)
    assert caught.value.filename == "/x"
    assert caught.value.__cause__ is error
    assert "\x1b" not in str(caught.value)


def test_without_fsspec_the_error_says_what_to_install() -> None:
    program = "import sys; sys.modules['fsspec'] = None; import guestkit, guestkit.fs"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == (
        "ImportError: guestkit.fs needs fsspec: pip install 'fsspec>=2026.9'"
    )


def test_guestkit_itself_does_not_load_fsspec() -> None:
    program = "import sys, guestkit, guestkit.aio; assert 'fsspec' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, env=os.environ)
