"""Serving without an appliance: options, who is admitted, the host key, what is replaced of asyncssh."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import logging
import os
import random
import re
import socket
import stat
import struct
import subprocess
import sys
import threading
import tomllib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import asyncssh
import pytest
from asyncssh.connection import SSHConnection
from asyncssh.constants import MSG_IGNORE
from asyncssh.sftp import SFTPServerHandler
from asyncssh.stream import SSHServerStreamSession

from guestkit import ApplianceCrashed, CallTimeout, Error, Guestfs, HandleClosed
from guestkit import _operations as operations
from guestkit._extras import install
from guestkit.cli import main
from guestkit.serving import ServeOptions, Server, bind, gate, guest, limits, pages, sftp, ssh, web
from guestkit.serving.gate import Gate
from guestkit.serving.guest import GuestFiles, path_of, reason
from guestkit.serving.host_key import host_key
from guestkit.serving.open_file import OpenFile

ROOT = Path(__file__).parents[2]

# ---- options


def test_each_server_has_a_random_password_that_no_text_shows() -> None:
    one, other = ServeOptions(), ServeOptions()
    assert one.password != other.password
    assert len(one.password) >= 24
    assert one.password not in repr(one)
    assert one.readonly
    assert one.listen == "127.0.0.1"


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"readonly": 0}, TypeError, "readonly must be bool"),
        ({"protocols": ()}, ValueError, 'must be of "sftp" and "http"'),
        ({"protocols": ("ftp",)}, ValueError, 'must be of "sftp" and "http"'),
        ({"port": 65536}, ValueError, "port must be from 0 to 65535"),
        ({"user": ""}, ValueError, "without a colon"),
        ({"user": "a:b"}, ValueError, "without a colon"),
        ({"password": ""}, ValueError, "password must be a text in one line"),
        ({"password": "a\nb"}, ValueError, "password must be a text in one line"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        ServeOptions(**options)  # type: ignore[arg-type]


# ---- names


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (b"", "/"),
        (b".", "/"),
        (b"etc/hosts", "/etc/hosts"),
        (b"//etc//hosts/", "/etc/hosts"),
        (b"/../../etc/./x/../hosts", "/etc/hosts"),
        (b"/\xff\n", "/\udcff\n"),
    ],
)
def test_a_path_stays_in_the_guest(name: bytes, path: str) -> None:
    assert path_of(name) == path


def test_a_path_with_a_nul_leads_to_no_file() -> None:
    with pytest.raises(FileNotFoundError):
        path_of(b"/etc\0/hosts")


def test_a_link_is_never_another_servers_or_a_script() -> None:
    assert pages.link("/a/javascript:alert(1)") == "/a/javascript%3Aalert%281%29"
    assert pages.link("/\udcff<\"'&") == "/%FF%3C%22%27%26"
    assert pages.link("/etc", directory=True) == "/etc/"
    assert pages.link("/", directory=True) == "/"


def test_times_that_cannot_be_told_are_left_out() -> None:
    for seconds in (1 << 62, -(1 << 62)):
        entry = {"name": "/x", "type": "file", "size": 3, "mode": 0o100644, "mtime": seconds}
        assert '<a href="/x">x</a></td><td>3</td><td></td>' in "".join(pages.page("/", [entry]))
        assert "getlastmodified" not in "".join(pages.multistatus([("/x", entry)]))
        assert 0 <= sftp._seconds(seconds) < 1 << 32


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", None),
        ("bytes=0-0", (0, 1)),
        ("bytes=3-", (3, 10)),
        ("bytes=-4", (6, 10)),
        ("bytes=-40", (0, 10)),
        ("bytes=5-4", None),
        ("bytes=-", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-1", None),
        ("bytes=٣-", None),
        ("bytes=" + "9" * 5000 + "-", None),
    ],
)
def test_ranges(text: str, found: tuple[int, int] | None) -> None:
    assert web._range(text, 10) == found


@pytest.mark.parametrize("text", ["bytes=10-", "bytes=-0", "bytes=9999999999999999999-"])
def test_ranges_beyond_the_end(text: str) -> None:
    with pytest.raises(web.Refused, match="the file has 10 bytes"):
        web._range(text, 10)


# ---- errors


@pytest.mark.parametrize(
    ("error", "number", "lost", "status"),
    [
        (CallTimeout("pread", "too long"), errno.ETIMEDOUT, False, 504),
        (CallTimeout("pread", "too long", handle_usable=False), errno.ETIMEDOUT, True, 504),
        (ApplianceCrashed("pread", "\x1b[31mhostile"), errno.EIO, True, 500),
        (HandleClosed("pread", "closed"), errno.EIO, True, 500),
        (Error("walk", "\x1b[31mhostile"), errno.EIO, False, 500),
        (OSError(errno.ENOSPC, "no space", "/x"), errno.ENOSPC, False, 507),
        (OSError(errno.EBUSY, "busy", "/x"), errno.EBUSY, False, 423),
    ],
)
async def test_what_is_wrong_is_told_without_the_guests_words(
    error: Exception, number: int, lost: bool, status: int
) -> None:
    def fail(g: Guestfs) -> None:
        raise error

    with Guestfs() as g:
        guest = GuestFiles(g, readonly=True)
        with pytest.raises(OSError, match=r"^\[Errno") as told:
            await guest.look(fail)
        assert told.value.errno == number
        assert "\x1b" not in reason(told.value)
        assert guest.lost.is_set() == lost
        assert web._STATUS.get(number, 500) == status
        with pytest.raises(PermissionError, match="served read-only"):
            await guest.change(fail, "/x")


# ---- who is admitted


class Clock:
    """In place of `asyncio.sleep`: waits until it is told to go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waiting: list[asyncio.Future[None]] = []
        monkeypatch.setattr(gate.asyncio, "sleep", self._sleep)  # type: ignore[attr-defined]

    async def _sleep(self, seconds: float) -> None:
        assert seconds == gate.DELAY
        self.waiting.append(asyncio.get_running_loop().create_future())
        await self.waiting[-1]

    def tick(self) -> None:
        self.waiting.pop().set_result(None)


async def _turns() -> None:
    """Let all that can run do so."""
    for _ in range(10):
        done = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(done.set_result, None)
        await done


async def test_guesses_of_an_address_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, door = Clock(monkeypatch), Gate("guest", "right")
    wrong = [asyncio.create_task(door.admits("1.2.3.4", "guest", f"guess {i}")) for i in range(2)]
    await _turns()
    wrong[0].cancel()  # hangs up, and gains nothing
    right = asyncio.create_task(door.admits("1.2.3.4", "guest", "right"))
    await _turns()
    assert len(clock.waiting) == 1
    assert await door.admits("5.6.7.8", "guest", "right")
    clock.tick()
    await _turns()
    assert not right.done()
    clock.tick()
    assert await wrong[1] is False
    assert await right
    assert not door._addresses


async def test_too_many_guesses_are_refused_unheard(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, door = Clock(monkeypatch), Gate("guest", "right")
    guesses = [asyncio.create_task(door.admits("1.2.3.4", "guest", "x")) for _ in range(gate.WAITING)]
    await _turns()
    assert not await door.admits("1.2.3.4", "guest", "right")
    for _ in guesses:
        clock.tick()
        await _turns()
    assert await asyncio.gather(*guesses) == [False] * gate.WAITING
    assert await door.admits("1.2.3.4", "guest", "right")


async def test_a_local_guesser_had_as_many_turns_as_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    for one, other, third in [
        ("127.0.0.1", "127.9.8.7", "127.9.8.7"),
        ("127.0.0.1", "::1", "::ffff:127.0.0.2"),
        ("2001:db8::1", "2001:db8::f:1", "2001:db8::2%eth0"),
    ]:
        clock, door = Clock(monkeypatch), Gate("guest", "right")
        guesses = [asyncio.create_task(door.admits(address, "guest", "x")) for address in (one, other, third)]
        await _turns()
        assert len(clock.waiting) == 1
        assert await door.admits("2001:db8:0:1::1", "guest", "right")  # another network
        for _ in guesses:
            clock.tick()
            await _turns()
        assert await asyncio.gather(*guesses) == [False] * 3


async def test_names_and_passwords_are_not_one_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "DELAY", 0)
    door = Gate("guest", "p\u00fc")
    assert await door.admits("", "guest", "pu\u0308")  # as SSH's clients normalise it
    assert not await door.admits("", "gues", "tp\u00fc")
    assert not await door.admits("", "guest", "\udcff")


# ---- the host key


def test_the_host_key_is_kept_for_this_user_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("GUESTKIT_CACHEDIR", str(cache))
    old = os.umask(0)
    try:
        key = host_key()
    finally:
        os.umask(old)
    (file,) = cache.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert host_key().get_fingerprint() == key.get_fingerprint()
    file.chmod(0o644)
    with pytest.raises(Error) as wrong:
        host_key()
    remedy = "others may read or write it: remove it, and another one is made"
    assert (
        wrong.value.message == f"SFTP has no host key: {file}: {remedy}"
    )  # it was "[Errno 0] …: PosixPath(…)"
    file.unlink()
    file.symlink_to("/etc/passwd")
    with pytest.raises(Error, match="SFTP has no host key"):
        host_key()
    file.unlink()
    kept = host_key().get_fingerprint()
    cache.chmod(0o777)
    assert host_key().get_fingerprint() != kept
    assert "SFTP's host key is not kept" in caplog.text
    assert "appliance: " not in caplog.text  # it named a call that nobody has made


def test_a_cache_on_a_filesystem_without_hard_links_had_no_host_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setenv("GUESTKIT_CACHEDIR", str(tmp_path))
    key = host_key()
    (file,) = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert host_key().get_fingerprint() == key.get_fingerprint()


# ---- asyncssh


def test_no_method_of_asyncsshs_own_server_reaches_this_hosts_files() -> None:
    """A new release may bring one more."""
    harmless = {
        "channel", "connection", "env", "logger",  # the connection
        "convert_attrs", "_to_sftpname",  # by what is replaced
        "lock", "unlock",  # not supported
    }  # fmt: skip
    inherited = {
        name for name in vars(asyncssh.SFTPServer) if not (name.startswith("__") or name in vars(sftp.Files))
    }
    assert inherited == harmless
    files = sftp.Files.__new__(sftp.Files)
    for method in (files.map_path, files.reverse_map_path):
        with pytest.raises(asyncssh.SFTPOpUnsupported):
            method(b"/etc/passwd")


@pytest.mark.parametrize(
    ("kind", "name", "lacks"),
    [
        (SFTPServerHandler, "_process_limits", "SFTPServerHandler._process_limits"),
        (SSHServerStreamSession, "_init_sftp_server", "SSHServerStreamSession._init_sftp_server"),
        # Where it is an attribute of the objects, the class says so in its __init__ alone.
        (SSHConnection, "__init__", "SSHServerConnection._deferred_packets"),
    ],
)
async def test_an_asyncssh_that_is_another_inside_was_served_with(
    kind: type, name: str, lacks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What guestkit overrides would have been called no more, so that a client could fill the memory."""
    monkeypatch.delattr(kind, name)
    with Guestfs() as g, pytest.raises(Error, match=rf"has no {re.escape(lacks)}") as caught:
        async with Server(g):
            pass
    assert caught.value.errno == errno.ENOSYS
    assert caught.value.hint == install("serve")


@pytest.mark.parametrize("name", ["asyncssh.sftp.SFTPLimits", "asyncssh.SFTPVFSAttrs"])
def test_an_asyncssh_without_a_name_was_said_not_to_be_installed(
    name: str, python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = python(f"import asyncssh.sftp, guestkit.serving.server as s; del {name}; s.require()")
    assert "not installed" not in done.stderr
    assert f"none that guestkit knows: cannot import name '{name.rpartition('.')[2]}'" in done.stderr


def test_a_newer_asyncssh_than_the_tested_one_was_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (needed,) = [one for one in project["optional-dependencies"]["serve"] if one.startswith("asyncssh")]
    pinned = re.search(r"^asyncssh==(\d+)\.(\d+)", (ROOT / "requirements.txt").read_text("utf-8"), re.M)
    assert pinned is not None
    assert needed.endswith(f",<{pinned[1]}.{int(pinned[2]) + 1}")


# ---- what clients may take of this host


class Disk(GuestFiles):
    """A guest of directories, all alike, and one file, which is read to be told how often."""

    def __init__(self, handle: Guestfs, *, readonly: bool = True) -> None:
        super().__init__(handle, readonly=readonly)
        self.reads = 0
        self.turns = 0
        self.size = 3
        self.failures: list[Exception | None] = []
        self.goes_on = asyncio.Event()  # the guest; it answers nobody until then
        self.goes_on.set()
        self.looking = self.most_looking = 0
        self._more = asyncio.Event()

    async def crowded(self, count: int) -> None:
        """Wait until so many clients wait for the guest."""
        while self.looking < count:
            self._more.clear()
            await self._more.wait()

    async def look(self, function: Callable[..., Any], *arguments: Any) -> Any:
        self.turns += 1
        self.looking += 1
        self.most_looking = max(self.looking, self.most_looking)
        self._more.set()
        await self.goes_on.wait()
        self.looking -= 1
        if function is operations.beginnings:
            failure = self.failures.pop(0) if self.failures else None
            if failure is not None and not isinstance(failure, OSError):
                raise failure  # before any file
            return [failure or self._part(0, size) for _, size in arguments[0]]
        if function is operations.part:
            return self._part(*arguments[1:])
        if function is operations.listing:
            return [_entry(f"/{number}") for number in range(200)]
        if function is operations.status:
            return _seen(self.size)
        if function is operations.info:
            kind = "file" if arguments[0] == "/x" else "directory"
            return _entry(arguments[0], kind) | {"size": self.size}
        raise RuntimeError("a fault of this program")

    def _part(self, start: int, size: int) -> tuple[dict[str, int], bytes]:
        self.reads += 1
        return _seen(self.size), bytes(max(0, min(size, self.size - start)))


def _seen(size: int) -> dict[str, int]:
    names = ("dev", "ino", "uid", "gid", "atime_sec", "mtime_sec", "mtime_nsec", "nlink")
    return {"st_mode": 0o100644, "st_size": size, **{f"st_{name}": 0 for name in names}}


def _entry(name: str, kind: str = "file") -> dict[str, object]:
    return {"name": name, "type": kind, "mode": 0o100644, "size": 3, "mtime": 0, "uid": 0, "gid": 0}


@pytest.fixture
def disk() -> Iterator[Disk]:
    with Guestfs() as g:
        yield Disk(g)


@contextlib.asynccontextmanager
async def by_sftp(disk: GuestFiles) -> AsyncIterator[Callable[[], Any]]:
    place = socket.create_server(("127.0.0.1", 0))
    key = asyncssh.generate_private_key("ssh-ed25519")
    listener = await ssh.listen(place, disk, Gate("guest", "right"), key)
    try:
        yield lambda: asyncssh.connect(
            *place.getsockname(), username="guest", password="right", known_hosts=None, config=None
        )
    finally:
        await listener.close()


@contextlib.asynccontextmanager
async def by_http(disk: GuestFiles, door: Gate) -> AsyncIterator[tuple[str, int]]:
    place = socket.create_server(("127.0.0.1", 0))
    runner = await web.listen(place, disk, door)
    try:
        yield place.getsockname()
    finally:
        await runner.cleanup()


def _packet(kind: int, *parts: bytes) -> bytes:
    body = bytes([kind]) + b"".join(parts)
    return struct.pack(">I", len(body)) + body


class Unread(asyncssh.SSHClientSession[bytes]):
    """Takes answers, and tells how many bytes they were."""

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self.size = 0
        self.wanted = asyncio.Event()
        self.enough = 0

    def data_received(self, data: bytes, datatype: object) -> None:
        self.size += len(data)
        if self.size >= self.enough:
            self.wanted.set()

    async def until(self, size: int) -> None:
        self.wanted.clear()
        self.enough = size
        if self.size < size:
            await self.wanted.wait()


@pytest.mark.parametrize("window", [1 << 16, 1 << 31])
async def test_a_client_that_takes_no_answers_had_them_all_in_the_hosts_memory(
    disk: Disk, window: int
) -> None:
    asked = 64
    disk.size = 1 << 40
    async with asyncio.timeout(60), by_sftp(disk) as connect, connect() as lazy, connect() as other:
        channel, session = await lazy.create_session(Unread, subsystem="sftp", encoding=None, window=window)
        string = struct.pack(">I2s", 2, b"/x")
        channel.write(_packet(1, struct.pack(">I", 3)))
        await session.until(1)
        known = session.size
        channel.write(_packet(3, struct.pack(">I", 1), string, struct.pack(">II", 1, 0)))
        await session.until(known + 1)
        begun, disk.reads = session.size, 0
        lazy._transport.pause_reading() if window > 1 << 20 else channel.pause_reading()
        for number in range(asked):
            place = struct.pack(">QI", number << 20, 1 << 20)
            channel.write(_packet(5, struct.pack(">II4s", number, 4, bytes(4)), place))
        async with other.start_sftp_client() as client:
            for _ in range(2 * asked):  # which gives the server time to answer all
                await client.stat(b"/x")
        assert 0 < disk.reads < asked / 2
        lazy._transport.resume_reading() if window > 1 << 20 else channel.resume_reading()
        await session.until(begun + (asked << 20))
        assert disk.reads == asked


async def test_directories_that_a_client_never_closes_were_not_counted(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sftp, "OPEN", 3)
    async with by_sftp(disk) as connect, connect() as connection, connection.start_sftp_client() as client:
        handler = client._handler
        opened = [await handler.opendir(b"/") for _ in range(2)]
        await client.open(b"/x", "rb")
        with pytest.raises(asyncssh.SFTPFailure, match="Too many open files"):
            await handler.opendir(b"/")
        with pytest.raises(asyncssh.SFTPFailure, match="Too many open files"):
            await client.open(b"/x", "rb")
        await handler.close(opened.pop())
        await handler.close(await handler.opendir(b"/"))
        monkeypatch.setattr(sftp, "OPEN_BY_ALL", 2)
        async with connection.start_sftp_client() as second:
            with pytest.raises(asyncssh.SFTPFailure, match="Too many open files"):
                await second.open(b"/x", "rb")
            await handler.close(opened.pop())
            await second.open(b"/x", "rb")


async def test_large_directories_that_clients_do_not_finish_had_the_hosts_memory(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guest, "NAMES", 500)
    async with by_sftp(disk) as connect, connect() as connection, connection.start_sftp_client() as client:
        handler = client._handler
        first, second, third = [await handler.opendir(b"/") for _ in range(3)]
        for directory in (first, second):
            assert len((await handler.readdir(directory))[0]) == 128
        with pytest.raises(asyncssh.SFTPFailure, match="too many large directories"):
            await handler.readdir(third)
        await handler.close(first)
        assert len(await client.listdir(b"/")) == 200
        assert disk._names == 200


async def test_sessions_and_connections_of_one_client_were_without_end(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "SESSIONS", 2)
    monkeypatch.setattr(ssh, "CONNECTIONS", 2)
    async with asyncio.timeout(60), by_sftp(disk) as connect, connect() as one:
        async with connect() as other:
            with pytest.raises((asyncssh.ConnectionLost, ConnectionResetError)):
                await connect()
            clients = [await connection.start_sftp_client() for connection in (one, other)]
            with pytest.raises(asyncssh.ChannelOpenError):
                await one.start_sftp_client()
            clients[0].exit()
            await clients[0].wait_closed()
            clients[0] = await one.start_sftp_client()
        await other.wait_closed()
        async with connect() as other, other.start_sftp_client() as client:
            await client.stat(b"/x")


async def test_a_copy_of_a_file_into_itself_never_ended(disk: Disk) -> None:
    async with by_sftp(disk) as connect, connect() as connection, connection.start_sftp_client() as client:
        handler = client._handler
        assert not client.supports_remote_copy
        handler._supports_copy_data = True  # a client that asks all the same
        file = await client.open(b"/x", "rb")
        disk.reads = 0
        with pytest.raises(asyncssh.SFTPOpUnsupported):
            await handler.copy_data(file._handle, 0, 0, file._handle, 1 << 18)
        assert disk.reads == 0


async def test_a_small_file_took_a_turn_of_the_guest_for_each_request(disk: Disk) -> None:
    disk.size = 5000
    async with by_sftp(disk) as connect, connect() as connection, connection.start_sftp_client() as client:
        async with client.open(b"/x", "rb") as file:
            assert await file.read() == bytes(5000)
            assert await file.read() == b""
            assert (disk.turns, disk.reads) == (1, 1)
            disk.changes += 1
            disk.size = 6000
            await file.seek(0)
            assert await file.read() == bytes(6000)
            assert disk.reads > 1
        assert client.limits.max_read_len == limits.AHEAD


class Changing(Disk):
    """A guest in which something changes with each read. Its file has other bytes everywhere."""

    def __init__(self, handle: Guestfs) -> None:
        super().__init__(handle, readonly=False)
        self.content = random.Random(1).randbytes(3 << 20)
        self.size = len(self.content)
        self.replaced = False  # by another file, once its beginning was read

    def _part(self, start: int, size: int) -> tuple[dict[str, int], bytes]:
        seen, _ = super()._part(start, size)
        self.changes += 1
        if self.replaced and start:
            seen["st_ino"] += 1
        return seen, self.content[start : start + size]


@pytest.fixture
def changing() -> Iterator[Changing]:
    with Guestfs() as g:
        yield Changing(g)


async def test_a_download_lost_what_was_read_while_another_client_wrote(
    changing: Changing, tmp_path: Path
) -> None:
    """An answer without bytes is the end of a file, so that clients left holes, and told no error."""
    async with by_sftp(changing) as connect, connect() as known, known.start_sftp_client() as client:
        await client.get(b"/x", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == changing.content


async def test_the_size_of_an_open_file_was_that_of_another_which_took_its_place() -> None:
    seen = {"st_dev": 1, "st_ino": 2, "st_size": 3}

    class Renamed:
        changes = 0

        async def begin(self, path: str) -> tuple[dict[str, int], bytes]:
            return seen, b"old"

        async def look(self, *_: Any) -> dict[str, int]:
            return seen | {"st_ino": 4, "st_size": 5}

    guest: Any = Renamed()
    file = OpenFile(guest, "/x", append=False)
    await file.begin()
    assert (await file.status())["st_size"] == 3
    guest.changes += 1
    with pytest.raises(OSError, match="another file has taken its place"):
        await file.status()


async def test_a_download_was_of_two_files_one_of_which_took_the_others_place(
    changing: Changing, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    changing.replaced = True
    async with by_sftp(changing) as connect, connect() as known, known.start_sftp_client() as client:
        with pytest.raises(asyncssh.SFTPFailure, match="another file has taken its place"):
            await client.get(b"/x", tmp_path / "x")
    async with asyncio.timeout(60), by_http(changing, Gate("guest", "right")) as address:
        with contextlib.suppress(ConnectionResetError):
            answer = await _asked(address, "GET")
            assert len(answer) < changing.size
    assert "a download was broken off: the file has changed meanwhile" in caplog.text


async def test_files_that_are_opened_together_took_a_turn_each(disk: Disk) -> None:
    disk.size = 5000

    async def content() -> object:
        async with client.open(b"/x", "rb") as file:
            return await file.read()

    async with by_sftp(disk) as connect, connect() as connection, connection.start_sftp_client() as client:
        disk.goes_on.clear()
        first = asyncio.create_task(content())
        async with asyncio.timeout(60):
            await disk.crowded(1)
        others = [asyncio.create_task(content()) for _ in range(limits.AT_ONCE - 1)]
        async with connection.start_sftp_client():  # the server has had time for all
            disk.goes_on.set()
        assert await asyncio.gather(first, *others) == [bytes(5000)] * limits.AT_ONCE
        assert (disk.turns, disk.reads) == (2, limits.AT_ONCE)


async def test_the_end_of_the_server_left_those_waiting_who_opened_files(disk: Disk) -> None:
    disk.goes_on.clear()
    opening = [asyncio.create_task(disk.begin("/x")) for _ in range(3)]
    await disk.crowded(1)
    opening.append(asyncio.create_task(disk.begin("/x")))
    await _turns()
    await disk.close()
    async with asyncio.timeout(60):
        ended = await asyncio.gather(*opening, return_exceptions=True)
    assert [type(one) for one in ended] == [asyncio.CancelledError] * 4


async def test_one_of_the_files_that_are_opened_together_cannot_be(disk: Disk) -> None:
    """Each client is told of its own, also what is a fault of the program."""
    disk.failures = [FileNotFoundError(2, "no such file"), None, RuntimeError("a fault of this program")]
    async with by_sftp(disk) as connect, connect() as connection, connection.start_sftp_client() as client:
        with pytest.raises(asyncssh.SFTPNoSuchFile):
            await client.open(b"/nowhere", "rb")
        async with client.open(b"/x", "rb") as file:
            assert await file.read(3) == bytes(3)
        with pytest.raises(asyncssh.SFTPError):
            await client.open(b"/x", "rb")
        async with client.open(b"/x", "rb") as file:
            assert await file.read(3) == bytes(3)


async def test_each_answer_was_sent_with_a_packet_for_nothing(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: asyncssh sent one before each, and encrypted all in the slowest way that it has."""
    ignored: list[bool] = []
    handlers = {
        **SSHConnection._packet_handlers,
        MSG_IGNORE: lambda connection, *_: ignored.append(connection.is_client()),
    }
    monkeypatch.setattr(SSHConnection, "_packet_handlers", handlers)
    async with by_sftp(disk) as connect, connect() as connection, connection.start_sftp_client() as client:
        for _ in range(20):
            await client.stat(b"/x")
        assert connection.get_extra_info("recv_cipher") == "aes256-gcm@openssh.com"
    assert set(ignored) == {False}  # asyncssh's client does it, too


@pytest.mark.parametrize(("readonly", "at_once"), [(True, limits.AT_ONCE), (False, 1)])
async def test_a_request_waited_while_the_guest_read_for_another_one(
    disk: Disk, readonly: bool, at_once: int
) -> None:
    """Where something can change, it still does: the order would be lost."""
    disk.readonly = readonly
    async with by_sftp(disk) as connect, connect() as connection, connection.start_sftp_client() as client:
        disk.goes_on.clear()
        asked = [asyncio.create_task(client.stat(b"/x")) for _ in range(2 * limits.AT_ONCE)]
        async with asyncio.timeout(60):
            await disk.crowded(at_once)
        async with connection.start_sftp_client():  # the server has had time for all
            assert disk.looking == at_once
        disk.goes_on.set()
        await asyncio.gather(*asked)
        assert disk.most_looking == at_once


async def test_an_admitted_client_was_refused_while_others_guessed(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, door = Clock(monkeypatch), Gate("guest", "right")
    right, wrong = ({"Authorization": _login(password)} for password in ("right", "x"))
    async with by_http(disk, door) as (host, port), aiohttp.ClientSession(f"http://{host}:{port}") as session:

        async def status(headers: dict[str, str]) -> int:
            async with session.get("/x", headers=headers) as answer:
                await answer.read()
                return answer.status

        assert await status(right) == 200
        guesses = [asyncio.create_task(door.admits(host, "guest", "x")) for _ in range(gate.WAITING)]
        await _turns()
        assert await status(right) == 200
        assert await status(wrong) == 401  # on the connection that was admitted
        async with aiohttp.ClientSession(f"http://{host}:{port}") as new:
            assert (await new.get("/x", headers=right)).status == 401
        for _ in guesses:
            clock.tick()
            await _turns()
        assert await asyncio.gather(*guesses) == [False] * gate.WAITING
        monkeypatch.undo()  # the server's end waits for its turns by this name, too


async def test_idle_connections_without_a_password_kept_others_out(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "CONNECTIONS", 2)
    async with asyncio.timeout(60), by_http(disk, Gate("guest", "right")) as address:
        (_, one), (_, other) = [await asyncio.open_connection(*address) for _ in range(2)]
        await _is_closed(address)
        one.close()
        answer = b""
        while not answer:  # until the server has noticed
            with contextlib.suppress(ConnectionResetError):
                answer = await _asked(address, "GET")
        assert answer.startswith(b"HTTP/1.1 200 ")
        other.close()
    monkeypatch.setattr(web, "IDLE", 0.05)
    async with asyncio.timeout(60), by_http(disk, Gate("guest", "right")) as address:
        await _is_closed(address)


async def _is_closed(address: tuple[str, int]) -> None:
    """Connect, and wait until the server hangs up."""
    reader, writer = await asyncio.open_connection(*address)
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    writer.close()


def _login(password: str) -> str:
    return f"Basic {base64.b64encode(f'guest:{password}'.encode()).decode()}"


async def _asked(address: tuple[str, int], method: str, *headers: str, path: str = "/x") -> bytes:
    reader, writer = await asyncio.open_connection(*address)
    known = ("Host: x", f"Authorization: {_login('right')}", "Connection: close")
    head = (f"{method} {path} HTTP/1.1", *known, *headers)
    writer.write("\r\n".join([*head, "", ""]).encode(errors="surrogateescape"))
    try:
        return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ('If-None-Match: "TAG"', 304),
        ('If-None-Match: "x", W/"TAG"', 304),
        ("If-None-Match: *", 304),
        ('If-None-Match: "x"', 200),
        ("If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT", 304),
        ("If-Modified-Since: Wed, 31 Dec 1969 23:59:59 GMT", 200),
        ("If-Modified-Since: nonsense", 200),
    ],
)
@pytest.mark.parametrize("readonly", [True, False])
async def test_a_client_had_to_take_again_what_it_had(
    disk: Disk, header: str, status: int, readonly: bool
) -> None:
    disk.readonly = readonly
    async with asyncio.timeout(60), by_http(disk, Gate("guest", "right")) as address:
        first = await _asked(address, "GET")
        tag = re.search(rb'ETag: "([0-9a-f]{8}-0-3)"', first)
        assert (tag is not None) == readonly
        disk.reads = 0
        answer = await _asked(address, "GET", header.replace("TAG", tag[1].decode() if tag else "0-3"))
    assert answer.startswith(f"HTTP/1.1 {status if readonly else 200} ".encode())
    assert disk.reads == (0 if status == 304 and readonly else 1)


@pytest.mark.parametrize("destination", ["http://[x/", "/\udcff", "//["])
async def test_a_malformed_destination_was_a_traceback(
    disk: Disk, destination: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with by_http(disk, Gate("guest", "right")) as address:
        answer = await _asked(address, "COPY", f"Destination: {destination}")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"nosniff" in answer
    assert not caplog.records


async def test_a_fault_was_answered_without_the_sites_headers(
    disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    disk.readonly = False
    async with by_http(disk, Gate("guest", "right")) as address:
        answer = await _asked(address, "DELETE")
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"nosniff" in answer
    assert b"Content-Security-Policy: default-src 'none'" in answer
    assert b"a fault" not in answer
    assert "a fault of this program" in caplog.text


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_a_client_that_had_gone_was_an_error_of_the_server(
    disk: Disk,
    files: Files,
    method: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The command told of it in a line, and a program's log had a traceback of it."""
    disk.size = 64 << 20
    ended = asyncio.Event()
    answer = web.Site.answer

    async def answered(self: web.Site, request: Any) -> Any:
        try:
            return await answer(self, request)
        finally:
            ended.set()

    monkeypatch.setattr(web.Site, "answer", answered)
    async with (
        asyncio.timeout(60),
        by_http(disk if method == "GET" else files, Gate("guest", "right")) as address,
    ):
        reader, writer = await asyncio.open_connection(*address)
        head = (f"{method} /x HTTP/1.1", "Host: x", f"Authorization: {_login('right')}")
        size = ["Content-Length: 1000"] if method == "PUT" else []
        writer.write("\r\n".join([*head, *size, "", ""]).encode())
        if method == "GET":
            assert await reader.read(100)
        else:
            await files.storing.wait()
        writer.transport.abort()
        await ended.wait()
        await _turns()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_one_damaged_symlink_hid_the_whole_directory(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WebDAV's clients were told 500 for it."""
    look = disk.look

    async def linked(function: Callable[..., Any], *arguments: Any) -> Any:
        if function is operations.listing:
            return [_entry(f"/{name}", "link") for name in ("damaged", "none", "x")]
        if function is web._behind:
            return function(None, *arguments)
        return await look(function, *arguments)

    def info(g: Guestfs, path: str) -> Any:
        if path != "/x":
            raise OSError(errno.EIO if path == "/damaged" else errno.ENOENT, "cannot be told", path)
        return _entry(path)

    monkeypatch.setattr(disk, "look", linked)
    async with by_http(disk, Gate("guest", "right")) as address:
        monkeypatch.setattr(operations, "info", info)
        answer = await _asked(address, "PROPFIND", "Depth: 1", path="/d")
        monkeypatch.undo()
    assert re.findall(rb"<[^/>]*href>([^<]+)<", answer) == [b"/d/", b"/x"]


# ---- what WebDAV's clients ask for


class Files(GuestFiles):
    """A guest whose files are those of a directory of this host."""

    def __init__(self, handle: Guestfs, root: Path) -> None:
        super().__init__(handle, readonly=False)
        self._root = str(root)
        self.storing = asyncio.Event()

    async def look(self, function: Callable[..., Any], *arguments: Any) -> Any:
        path = self._root + arguments[0]
        if function is operations.check_there:
            return os.lstat(path)
        if function is operations.info:
            seen = os.stat(path)
            kind = "directory" if stat.S_ISDIR(seen.st_mode) else "file"
            known = {"mtime": int(seen.st_mtime), "size": seen.st_size, "mode": seen.st_mode}
            return _entry(arguments[0], kind) | known
        if function is operations.rename:
            return os.rename(path, self._root + arguments[1])
        if function is operations.remove:
            return os.unlink(path)
        if function is operations.mkdir:
            return os.mkdir(path)
        if function is operations.part:
            seen, content = os.stat(path), Path(path).read_bytes()
            begin, size = arguments[1:]
            known = _seen(seen.st_size) | {"st_ino": seen.st_ino, "st_mtime_sec": int(seen.st_mtime)}
            return known, content[begin : begin + size]
        raise RuntimeError("a fault of this test")

    async def store(self, path: str, parts: AsyncIterator[Any], permissions: int | None = None) -> None:
        self.permissions = permissions
        self.storing.set()
        content = b"".join([bytes(part) async for part in parts])
        Path(self._root + path).write_bytes(content)


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    for name in ("full", "empty"):
        (tmp_path / name).mkdir()
    for name in ("file", "other", "full/file"):
        (tmp_path / name).write_bytes(b"old")
        os.utime(tmp_path / name, (1e9, 1e9))
    with Guestfs() as g:
        yield Files(g, tmp_path)


@contextlib.asynccontextmanager
async def announced(
    files: Files, path: str, *headers: str
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Announce an upload of three bytes, and give the connection."""
    async with asyncio.timeout(60), by_http(files, Gate("guest", "right")) as address:
        reader, writer = await asyncio.open_connection(*address)
        known = ("Host: x", f"Authorization: {_login('right')}", "Content-Length: 3")
        writer.write("\r\n".join([f"PUT {path} HTTP/1.1", *known, *headers, "", ""]).encode())
        try:
            yield reader, writer
        finally:
            writer.close()


async def test_a_client_that_waits_for_100_continue_was_never_told(files: Files, tmp_path: Path) -> None:
    async with announced(files, "/file", "Expect: 100-Continue") as (reader, writer):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"new")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204 ")
    assert (tmp_path / "file").read_bytes() == b"new"


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/none/file", ["Expect: 100-continue"], b"409"),
        ("/file", ["Expect: 100-continue", "Content-Range: bytes 0-2/9"], b"400"),
        ("/file", ["Expect: miracles"], b"417"),
    ],
)
async def test_what_is_refused_need_not_be_sent(
    files: Files, path: str, headers: list[str], status: bytes
) -> None:
    async with announced(files, path, *headers) as (reader, _):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 " + status)


async def _status(files: Files, method: str, path: str, *headers: str) -> int:
    async with asyncio.timeout(60), by_http(files, Gate("guest", "right")) as address:
        return int((await _asked(address, method, *headers, path=path)).split()[1])


THEN = "Sun, 09 Sep 2001 01:46:40 GMT"
BEFORE = "Sun, 09 Sep 2001 01:46:39 GMT"


@pytest.mark.parametrize(
    ("method", "path", "condition", "status"),
    [
        ("PUT", "/file", "If-None-Match: *", 412),
        ("PUT", "/new", "If-None-Match: *", 201),
        ("PUT", "/file", 'If-None-Match: "x"', 204),
        ("PUT", "/file", "If-Match: *", 204),
        ("PUT", "/new", "If-Match: *", 412),
        ("PUT", "/file", 'If-Match: "x"', 412),
        ("PUT", "/file", f"If-Unmodified-Since: {THEN}", 204),
        ("PUT", "/file", f"If-Unmodified-Since: {BEFORE}", 412),
        ("PUT", "/file", "If-Unmodified-Since: nonsense", 204),
        ("PUT", "/new", f"If-Unmodified-Since: {BEFORE}", 201),
        ("PUT", "/none/new", "If-Match: *", 409),  # as without it
        ("DELETE", "/file", f"If-Unmodified-Since: {BEFORE}", 412),
        ("DELETE", "/file", f"If-Unmodified-Since: {THEN}", 204),
        ("MOVE", "/file", 'If-Match: "x"', 412),
        ("MOVE", "/file", "If-Match: *", 204),
        ("COPY", "/file", f"If-Unmodified-Since: {BEFORE}", 412),
        ("MKCOL", "/new", "If-Match: *", 412),
    ],
)
async def test_a_client_overwrote_what_another_had_changed(
    files: Files, tmp_path: Path, method: str, path: str, condition: str, status: int
) -> None:
    before = sorted(tmp_path.rglob("*")), (tmp_path / "file").read_bytes()
    words = {"PUT": ["Content-Length: 0"], "MOVE": ["Destination: /other"], "COPY": ["Destination: /other"]}
    assert await _status(files, method, path, condition, *words.get(method, [])) == status
    if status >= 400:
        assert (sorted(tmp_path.rglob("*")), (tmp_path / "file").read_bytes()) == before


@pytest.mark.parametrize(
    ("method", "path", "destination", "status"),
    [
        ("MOVE", "/file", "/full", 409),
        ("MOVE", "/empty", "/full", 409),
        ("MOVE", "/full", "/file", 409),
        ("MOVE", "/file", "/other/below", 409),
        ("COPY", "/file", "/other/below", 409),
        ("PUT", "/file/below", "", 409),
        ("PUT", "/" + 300 * "x", "", 409),
        ("MKCOL", "/file/below", "", 409),
        ("MOVE", "/file", "/file", 403),
        ("COPY", "/file", "/full/../file", 403),
        ("MOVE", "/none", "/new", 404),
        ("MOVE", "/file/below", "/new", 404),
        ("MOVE", "/full", "/empty", 204),
        ("MOVE", "/file", "/other", 204),
        ("MOVE", "/file", "/new", 201),
    ],
)
async def test_the_status_of_a_request_told_of_the_wrong_file(
    files: Files, method: str, path: str, destination: str, status: int
) -> None:
    words = ["Content-Length: 0"] if method == "PUT" else []
    if destination:
        words.append(f"Destination: {destination}")
    assert await _status(files, method, path, *words) == status


async def test_a_copy_by_webdav_of_a_secret_was_readable_by_everybody(files: Files, tmp_path: Path) -> None:
    (tmp_path / "file").chmod(0o4662)
    assert await _status(files, "COPY", "/file", "Destination: /new") == 201
    assert files.permissions == 0o640
    assert await _status(files, "PUT", "/upload", "Content-Length: 0") == 201
    assert files.permissions is None


# ---- the end of the hypervisor


async def test_a_server_whose_hypervisor_had_ended_kept_the_loop_busy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process = await asyncio.create_subprocess_exec("sleep", "infinity")
    watched: list[int] = []
    pidfd_open = os.pidfd_open

    def opened(pid: int) -> int:
        watched.append(pidfd_open(pid))
        return watched[-1]

    monkeypatch.setattr(os, "pidfd_open", opened)
    monkeypatch.setattr(Guestfs, "is_dir", lambda g, path: True)
    monkeypatch.setattr(Guestfs, "get_pid", lambda g: process.pid)
    with Guestfs() as g:
        async with Server(g, ServeOptions(protocols=("http",))) as server:
            process.kill()
            await process.wait()
            async with asyncio.timeout(60):
                await server._guest.lost.wait()
            assert not asyncio.get_running_loop().remove_reader(watched[0])
            with pytest.raises(Error, match="the hypervisor has ended"):
                await server.ended()


# ---- the event loop

ENTERING = """
import asyncio, os, sys, threading
from guestkit import Guestfs, Server

class Watch:
    def find_spec(self, name, path=None, target=None):
        if threading.current_thread() is threading.main_thread():
            print(name)

Guestfs.is_dir = lambda g, path: True
Guestfs.get_pid = lambda g: os.getpid()

async def enter():
    with Guestfs() as g:
        sys.meta_path.insert(0, Watch())
        async with Server(g) as server:
            assert server.served.sftp and server.served.http
        sys.meta_path.pop(0)

asyncio.run(enter())
"""


def test_the_libraries_were_loaded_on_the_event_loop(tmp_path: Path) -> None:
    """That kept it for half a second."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, "-c", ENTERING]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == ""


# ---- its thread

STARTING = """
import os, sys, threading
from guestkit import Guestfs, Server, ServeOptions, serve

Guestfs.is_dir = lambda g, path: True
Guestfs.get_pid = lambda g: os.getpid()
start, end, serves = threading.Thread.start, Server.ended, threading.Event()

def interrupted(thread):
    start(thread)
    if thread.name == "guestkit-serve":
        if sys.argv[1] == "serves":
            serves.wait()
        raise KeyboardInterrupt

def ended(server):
    serves.set()
    return end(server)

threading.Thread.start, Server.ended = interrupted, ended
with Guestfs() as g:
    serve(g, ServeOptions(protocols=("http",)))
"""


@pytest.mark.parametrize("when", ["starts", "serves"])
def test_ctrl_c_while_the_server_starts_left_a_thread_that_nobody_could_end(when: str) -> None:
    command = [sys.executable, "-c", STARTING, when]
    done = subprocess.run(command, stderr=subprocess.PIPE, timeout=20, check=False)
    assert done.stderr.splitlines()[-1] == b"KeyboardInterrupt"


# ---- uploads that break off


class Uploads:
    """In place of what `store` calls: waits in `begin` until it may go on, and tells what was settled."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self.settled: list[tuple[str, bool]] = []
        monkeypatch.setattr(operations, "begin", self._begin)
        monkeypatch.setattr(operations, "settle", self._settle)

    def _begin(self, g: Guestfs, path: str, *_: object) -> operations.Place:
        self.begun.set()
        assert self.go.wait(60)
        return operations.Place("/.guestkit-0", 0, path)

    def _settle(self, g: Guestfs, place: operations.Place, keep: bool) -> None:
        self.settled.append((place.path, keep))


async def _endless(sent: asyncio.Event) -> AsyncIterator[bytes]:
    sent.set()
    await asyncio.Event().wait()
    yield b""


async def test_an_upload_that_was_cut_off_as_it_began_left_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    uploads = Uploads(monkeypatch)
    with Guestfs() as g:
        task = asyncio.create_task(GuestFiles(g, readonly=False).store("/x", _endless(asyncio.Event())))
        assert await asyncio.to_thread(uploads.begun.wait, 60)
        task.cancel()
        uploads.go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert uploads.settled == [("/.guestkit-0", False)]


async def test_the_end_of_the_server_left_the_files_of_uploads(monkeypatch: pytest.MonkeyPatch) -> None:
    uploads = Uploads(monkeypatch)
    uploads.go.set()
    with Guestfs() as g:
        served = GuestFiles(g, readonly=False)
        sent, turn = asyncio.Event(), threading.Event()
        task = asyncio.create_task(served.store("/x", _endless(sent)))
        await sent.wait()
        other = asyncio.create_task(served.look(lambda g: turn.wait(60)))  # which has the turn
        closing = asyncio.create_task(served.close())
        await _turns()
        task.cancel()  # as the end of the loop does
        await _turns()
        assert not uploads.settled
        turn.set()
        await closing
        assert uploads.settled == [("/.guestkit-0", False)]
        assert task.cancelled()
        assert await other


async def test_a_second_cancel_ended_the_server_before_its_uploads(monkeypatch: pytest.MonkeyPatch) -> None:
    uploads = Uploads(monkeypatch)
    with Guestfs() as g:
        served = GuestFiles(g, readonly=False)
        task = asyncio.create_task(served.store("/x", _endless(asyncio.Event())))
        assert await asyncio.to_thread(uploads.begun.wait, 60)
        closing = asyncio.create_task(served.close())
        await _turns()
        for _ in "12":
            closing.cancel()
            await _turns()
        assert not closing.done()
        uploads.go.set()
        with pytest.raises(asyncio.CancelledError):
            await closing
    assert uploads.settled == [("/.guestkit-0", False)]
    assert task.cancelled()


# ---- the libraries, and the command


@pytest.mark.parametrize(
    "library",
    ["asyncssh", pytest.param("aiohttp", marks=pytest.mark.full)],
)
def test_a_missing_library_is_told_with_the_command_that_installs_it(
    python: Callable[..., subprocess.CompletedProcess[str]], library: str
) -> None:
    program = (
        f"import sys; sys.modules[{library!r}] = None\n"
        "from guestkit.cli import main\n"
        "sys.exit(main(['serve', 'no-disk']))"
    )
    done = python(program)
    assert done.returncode == 1
    expected = f"{library}, which serving needs, is not installed; {install('serve')}"
    assert done.stderr == f"guestkit: error: {expected}\n"


def test_a_port_in_use_was_told_after_the_launch(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["serve", "--port", str(port), "no-disk"]) == 1
    told = f"guestkit: error: 127.0.0.1, port {port}: Address already in use; choose another port\n"
    assert capsys.readouterr() == ("", told)  # nothing of the disk, which is not there


def test_an_address_stays_taken_until_the_guest_is_served() -> None:
    with bind(ServeOptions()) as bound:
        (host, port), other = (each.getsockname() for each in bound.sockets.values())
        for taken in (port, other[1]):
            with pytest.raises(Error) as caught:
                bind(ServeOptions(port=taken))
            assert caught.value.errno == errno.EADDRINUSE
    with bind(ServeOptions(port=port, protocols=("http",))) as again:
        assert again.sockets["http"].getsockname() == (host, port)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--rw"], "its --format has to be stated"),
        (["--port", "0"], "not a port"),
        (["--port", "70000"], "not a port"),
        (["--user", "a:b"], "user must be a name without a colon"),
        (["--password", "secret"], "there is no option '--password'"),
    ],
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], words: list[str], text: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["serve", *words, "no-disk"])
    assert ended.value.code == 2
    assert text in capsys.readouterr().err


def test_the_password_comes_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from guestkit.cli import serve

    monkeypatch.setenv(serve.VARIABLE, "from the environment")
    (tmp_path / "file").write_text("from a file\nanother line\n")
    assert serve._password(None) == "from the environment"
    monkeypatch.setenv(serve.VARIABLE, "from the environment")
    assert serve._password(str(tmp_path / "file")) == "from a file"
    assert serve.VARIABLE not in os.environ  # it is not passed on to programs
    assert serve._password(None) is None


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("x" * 4097, "its first line is longer than 4096 characters"),
        ("", "its first line is empty, and is to be the password"),
    ],
)
def test_a_password_in_a_file_was_cut_or_refused_without_its_name(
    line: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Regression: of a long line the first 4096 characters were the password."""
    from guestkit.cli import serve

    file = tmp_path / "file"
    file.write_text(f"{line}\n")
    with pytest.raises(SystemExit, match="2"):
        main(["serve", "--password-file", str(file), "no-disk"])
    assert capsys.readouterr().err.startswith(f"guestkit: error: {file}: {told}\n")
    file.write_text("x" * 4096 + "\n")
    assert serve._password(str(file)) == "x" * 4096
