"""SFTP, by asyncssh.

asyncssh's own `SFTPServer` serves this host's files, so every method of it that opens something is replaced,
and what may have been forgotten ends in `map_path`, which refuses.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import weakref
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from types import FunctionType
from typing import TYPE_CHECKING, NoReturn, TypeVar, cast

import asyncssh
from asyncssh import (
    FXF_APPEND,
    FXF_CREAT,
    FXF_EXCL,
    FXF_TRUNC,
    FXF_WRITE,
    SFTPAttrs,
    SFTPName,
    SFTPOpUnsupported,
    SFTPVFSAttrs,
)
from asyncssh.constants import FXP_CLOSE, FXP_FSTAT, FXP_LSTAT, FXP_OPEN, FXP_READ, FXP_STAT, MSG_IGNORE
from asyncssh.packet import SSHPacket, SSHPacketLogger
from asyncssh.sftp import SFTPLimits, SFTPServerHandler
from asyncssh.stream import SSHReader, SSHServerStreamSession, SSHWriter

from guestkit import _operations as operations
from guestkit._file_errors import check_regular, failure
from guestkit._operations import Attributes, Entry
from guestkit._text import printable
from guestkit.serving.gate import Gate
from guestkit.serving.guest import GuestFiles, path_of
from guestkit.serving.limits import AHEAD, AT_ONCE, BEGINNING, CONNECTIONS, LOGIN, OPEN, OPEN_BY_ALL, SESSIONS

if TYPE_CHECKING:
    import socket

    from guestkit.generated.structs import StatNS
    from guestkit.handle import Guestfs

T = TypeVar("T")

_WORD = 0xFFFFFFFF
_FAR = 0xFFFFFFFFFFFFFFFF

#: Every client has one of these. They take a third of the time that chacha20 takes in Python.
_CIPHERS = (
    "aes256-gcm@openssh.com",
    "aes128-gcm@openssh.com",
    "aes256-ctr",
    "aes192-ctr",
    "aes128-ctr",
)

#: Requests that leave no trace but in the file that they open, read or close.
_LOOKING = frozenset((FXP_OPEN, FXP_CLOSE, FXP_READ, FXP_STAT, FXP_LSTAT, FXP_FSTAT))

#: The permissions that a client may set: not the kind of the file.
_PERMISSIONS = 0o7777

#: What is overridden or used of asyncssh that it does not promise to keep.
_PRIVATE: Mapping[type, Sequence[str]] = {
    SFTPServerHandler: (
        "_cleanup", "_extensions", "_packet_handlers", "_process_limits", "_process_packet", "_writer",
    ),
    SSHServerStreamSession: ("_chan", "_conn", "_init_sftp_server", "session_started"),
    asyncssh.SSHServerConnection: (
        "_deferred_packets", "create_task", "pause_writing", "resume_writing", "send_packet",
    ),
}  # fmt: skip


def lacking() -> str:
    """Return what the installed asyncssh has no more; "" if it is one that guestkit knows.

    Where a method that is overridden has another name, asyncssh's own would go on unnoticed.
    """
    missing = (
        f"{kind.__name__}.{name}"
        for kind, names in _PRIVATE.items()
        for name in names
        if not _has(kind, name)
    )
    return next(missing, "")


def _has(kind: type, name: str) -> bool:
    """Return whether the class has the attribute, or its objects get it as they are made."""
    makers = (vars(each).get("__init__") for each in kind.__mro__)
    return hasattr(kind, name) or any(
        name in maker.__code__.co_names for maker in makers if isinstance(maker, FunctionType)
    )


async def listen(place: socket.socket, guest: GuestFiles, gate: Gate, key: asyncssh.SSHKey) -> Listener:
    """Serve SFTP, and nothing else of SSH, on the socket."""
    clients = _Clients(guest)
    acceptor = await asyncssh.listen(
        sock=place,
        config=[],
        server_factory=partial(_Client, gate, clients),  # and it makes the sessions
        server_host_keys=[key],
        encoding=None,
        password_auth=True,
        public_key_auth=False,
        host_based_auth=False,
        kbdint_auth=False,
        gss_host=None,
        encryption_algs=_CIPHERS,
        allow_pty=False,
        agent_forwarding=False,
        x11_forwarding=False,
        login_timeout=LOGIN,
        server_version="guestkit",
    )
    return Listener(acceptor, clients.connections)


class Listener:
    """The server, and its clients."""

    def __init__(self, acceptor: asyncssh.SSHAcceptor, clients: set[asyncssh.SSHServerConnection]) -> None:
        self._acceptor = acceptor
        self._clients = clients

    async def close(self) -> None:
        """Cut all clients off."""
        self._acceptor.close()
        clients = list(self._clients)
        for client in clients:
            client.abort()
        await asyncio.gather(self._acceptor.wait_closed(), *(client.wait_closed() for client in clients))


class _Clients:
    """All clients of a server.

    Attributes:
        opened: files and directories, as long as a session has them
    """

    def __init__(self, guest: GuestFiles) -> None:
        self.guest = guest
        self.connections: set[asyncssh.SSHServerConnection] = set()
        self.sessions: set[_Session] = set()
        self.opened: weakref.WeakSet[object] = weakref.WeakSet()


class _Client(asyncssh.SSHServer):
    """One connection."""

    def __init__(self, gate: Gate, clients: _Clients) -> None:
        self._gate = gate
        self._clients = clients
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        # What the event loop calls when what is to be sent piles up; asyncssh's own do nothing.
        vars(conn).update(pause_writing=self._writable.clear, resume_writing=self._writable.set)
        vars(conn).update(send_packet=partial(_send, conn.send_packet))
        self._clients.connections.add(conn)
        if len(self._clients.connections) > CONNECTIONS:
            conn.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._writable.set()
        self._clients.connections.discard(self._connection)
        self._clients.sessions -= {session for session in self._clients.sessions if session.client is self}

    def session_requested(self) -> bool | tuple[asyncssh.SSHServerChannel[bytes], _Session]:
        if len(self._clients.sessions) >= SESSIONS:
            return False
        session = _Session(self, self._clients)
        self._clients.sessions.add(session)
        return self._connection.create_server_channel(), session

    async def sent(self) -> None:
        """Wait until most of what is to be sent is on its way."""
        await self._writable.wait()
        # Nothing tells when new keys have been agreed on, for which a client can take its time.
        while self._connection._deferred_packets and not self._connection.is_closed():  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    def password_auth_supported(self) -> bool:
        return True

    async def validate_password(self, username: str, password: str) -> bool:
        address = self._connection.get_extra_info("peername")[0]
        return await self._gate.admits(address, username, password)


class _Session(SSHServerStreamSession[bytes]):
    """A channel for SFTP."""

    def __init__(self, client: _Client, clients: _Clients) -> None:
        super().__init__(None, partial(Files, clients=clients), 3)
        self.client = client
        self._clients = clients

    def session_started(self) -> None:
        channel, connection = self._chan, self._conn
        assert channel is not None
        assert connection is not None
        files = cast(Files, self._init_sftp_server())
        reader, writer = SSHReader[bytes](self, channel), SSHWriter[bytes](self, channel)
        connection.create_task(_Handler(self.client, files, reader, writer).run(), reader.logger)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._clients.sessions.discard(self)


class _Handler(SFTPServerHandler):
    """Answers a request when the client has taken the answers before: asyncssh's own keeps them in memory.

    Where nothing can change, some requests are answered side by side, in any order: while the guest reads for
    one, others are received and sent. asyncssh takes one after the other.

    It has no copy-data: a file that is copied into itself has no end, also when the client has gone.
    """

    def __init__(
        self, client: _Client, files: Files, reader: SSHReader[bytes], writer: SSHWriter[bytes]
    ) -> None:
        super().__init__(files, reader, writer, 3)
        self._client = client
        self._side_by_side = _LOOKING if files.readonly else frozenset()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._answering: set[asyncio.Task[None]] = set()
        self._extensions = [known for known in self._extensions if known[0] != b"copy-data"]
        self._packet_handlers = {
            **self._packet_handlers,
            b"copy-data": None,
            b"limits@openssh.com": _limits,
        }

    async def _process_packet(self, pkttype: int, pktid: int, packet: SSHPacket) -> None:
        if self._writer is not None:
            await self._writer.drain()
        await self._client.sent()
        if pkttype not in self._side_by_side:
            await self._all_answered()
            await super()._process_packet(pkttype, pktid, packet)
            return
        await self._slots.acquire()
        answering = asyncio.create_task(self._answer(pkttype, pktid, packet))
        self._answering.add(answering)
        answering.add_done_callback(self._answering.discard)

    async def _answer(self, pkttype: int, pktid: int, packet: SSHPacket) -> None:
        try:
            await super()._process_packet(pkttype, pktid, packet)
        except (OSError, asyncssh.Error) as error:  # as where they are received
            await self._cleanup(error)
        finally:
            self._slots.release()

    async def _all_answered(self) -> None:
        if self._answering:
            await asyncio.wait(self._answering)

    async def _cleanup(self, exc: Exception | None) -> None:
        if exc is None:  # the client asks no more, but waits for what it has asked
            await self._all_answered()
        await super()._cleanup(exc)


def _send(
    send_packet: Callable[..., None], kind: int, *parts: bytes, handler: SSHPacketLogger | None = None
) -> None:
    """Leave out what asyncssh sends before each packet, which protects only ciphers in the mode CBC."""
    if kind != MSG_IGNORE:
        send_packet(kind, *parts, handler=handler)


async def _limits(handler: SFTPServerHandler, packet: SSHPacket) -> SFTPLimits:
    """Have clients read as much at a time as they get: else they ask again for the rest of each part."""
    known = await handler._process_limits(packet)
    return SFTPLimits(known.max_packet_len, AHEAD, known.max_write_len, OPEN)


class OpenFile:
    """A file that a client has open, by its name.

    What was read, with the file's status, stays known until something in the guest has changed.
    """

    def __init__(self, guest: GuestFiles, path: str, flags: int) -> None:
        self.path = path
        self._guest = guest
        self._append = bool(flags & FXF_APPEND)
        self._turn = asyncio.Lock()
        self._ahead = 0
        self._start = 0
        self._held = b""
        self._seen: StatNS | None = None
        self._changes = 0

    async def begin(self) -> None:
        """Look at the file and read its beginning: a small one takes one turn from opening to end."""
        changes, self._ahead = self._guest.changes, BEGINNING
        self._seen, self._held = await self._guest.begin(self.path)
        self._changes = changes

    async def status(self) -> StatNS:
        """Return the file's status."""
        if self._seen is not None and self._changes == self._guest.changes:
            return self._seen
        return await self._guest.look(operations.status, self.path, True)

    async def read(self, offset: int, size: int) -> bytes:
        """Return a part; a client that reads one after the other has the next ones fetched before."""
        async with self._turn:
            size = min(size, AHEAD)
            found = self._known(offset, size)
            if len(found) < size and not self._ends_at(offset + len(found)):
                await self._fetch(offset + len(found), size - len(found))
                found += self._known(offset + len(found), size - len(found))
            return found

    def _known(self, offset: int, size: int) -> bytes:
        if self._changes != self._guest.changes or offset < self._start:
            return b""
        return self._held[offset - self._start :][:size]

    def _ends_at(self, offset: int) -> bool:
        seen = self._seen if self._changes == self._guest.changes else None
        return seen is not None and offset >= seen["st_size"]

    async def _fetch(self, offset: int, size: int) -> None:
        in_sequence = self._ahead and offset == self._start + len(self._held)
        self._ahead = min(AHEAD, 2 * self._ahead) if in_sequence else size
        changes = self._guest.changes
        self._seen, self._held = await self._guest.look(
            operations.part, self.path, offset, max(size, self._ahead)
        )
        self._changes, self._start = changes, offset

    def seek(self, offset: int, whence: int) -> int:
        """Tell asyncssh, which looks for holes on behalf of clients, that there are none."""
        return offset if whence == os.SEEK_DATA else _FAR

    async def write(self, offset: int, data: bytes) -> int:
        """Write a part, or append it."""
        for start in range(0, len(data), AHEAD):
            part = data[start : start + AHEAD]
            if self._append:
                await self._guest.change(operations.append, self.path, part)
            else:
                await self._guest.change(operations.write, self.path, part, offset + start)
        return len(data)


class Files(asyncssh.SFTPServer):
    """The guest's files for one session."""

    def __init__(self, chan: asyncssh.SSHServerChannel[bytes], *, clients: _Clients) -> None:
        super().__init__(chan)
        self._guest = clients.guest
        self.readonly = clients.guest.readonly
        self._opened: weakref.WeakSet[object] = weakref.WeakSet()
        self._opened_by_all = clients.opened

    def _counted(self, path: str, opened: T) -> T:
        """Return what a client opens; it counts until asyncssh forgets it, when the client closes it."""
        if len(self._opened) >= OPEN or len(self._opened_by_all) >= OPEN_BY_ALL:
            raise failure(errno.EMFILE, path)
        self._opened.add(opened)
        self._opened_by_all.add(opened)
        return opened

    def map_path(self, path: bytes) -> NoReturn:
        """Refuse: asyncssh's own methods would open a file of this host."""
        raise SFTPOpUnsupported("not supported")

    reverse_map_path = map_path

    def exit(self) -> None:
        """End the session as a program that has succeeded: scp takes no status for a failure."""
        self.channel.exit(0)

    # ---- looking

    def format_user(self, uid: int | None) -> str:
        return str(uid)  # this host's names are not the guest's

    def format_group(self, gid: int | None) -> str:
        return str(gid)

    def format_longname(self, name: SFTPName) -> None:
        shown = SFTPName(printable(os.fsdecode(name.filename)).encode(), attrs=name.attrs)
        super().format_longname(shown)
        name.longname = shown.longname

    def scandir(self, path: bytes) -> AsyncIterator[SFTPName]:
        name = path_of(path)
        return self._counted(name, self._listing(name))

    async def _listing(self, path: str) -> AsyncIterator[SFTPName]:
        async with self._guest.entries(path) as entries:
            for entry in entries:
                name = os.fsencode(os.path.basename(entry["name"]))
                yield SFTPName(name, attrs=_attributes_of_entry(entry))

    async def stat(self, path: bytes) -> SFTPAttrs:
        return _attributes(await self._guest.look(operations.status, path_of(path), True))

    async def lstat(self, path: bytes) -> SFTPAttrs:
        return _attributes(await self._guest.look(operations.status, path_of(path), False))

    async def fstat(self, file_obj: object) -> SFTPAttrs:
        return _attributes(await cast(OpenFile, file_obj).status())

    async def realpath(self, path: bytes) -> bytes:
        return os.fsencode(path_of(path))

    async def readlink(self, path: bytes) -> bytes:
        return os.fsencode(await self._guest.look(operations.target, path_of(path)))

    async def statvfs(self, path: bytes) -> SFTPVFSAttrs:
        return await self._guest.look(_space, path_of(path))

    async def fstatvfs(self, file_obj: object) -> SFTPVFSAttrs:
        return await self._guest.look(_space, cast(OpenFile, file_obj).path)

    # ---- open files

    async def open(self, path: bytes, pflags: int, attrs: SFTPAttrs) -> OpenFile:
        name = path_of(path)
        file = self._counted(name, OpenFile(self._guest, name, pflags))
        if pflags & (FXF_WRITE | FXF_APPEND):
            await self._guest.change(_open_to_write, name, pflags, attrs.permissions)
        else:
            await file.begin()
        return file

    async def open56(self, path: bytes, desired_access: int, flags: int, attrs: SFTPAttrs) -> NoReturn:
        raise SFTPOpUnsupported("not supported")  # of later versions of the protocol

    async def close(self, file_obj: object) -> None:
        """Do nothing: `_counted` sees it go."""

    async def read(self, file_obj: object, offset: int, size: int) -> bytes:
        return await cast(OpenFile, file_obj).read(offset, size)

    async def write(self, file_obj: object, offset: int, data: bytes) -> int:
        return await cast(OpenFile, file_obj).write(offset, data)

    async def fsync(self, file_obj: object) -> None:
        await self._guest.change(lambda g, path: g.sync(), cast(OpenFile, file_obj).path)

    # ---- changing

    async def setstat(self, path: bytes, attrs: SFTPAttrs) -> None:
        await self._guest.change(operations.change, path_of(path), _wanted(attrs))

    async def fsetstat(self, file_obj: object, attrs: SFTPAttrs) -> None:
        await self._guest.change(operations.change, cast(OpenFile, file_obj).path, _wanted(attrs))

    async def lsetstat(self, path: bytes, attrs: SFTPAttrs) -> None:
        name = path_of(path)
        seen = await self._guest.look(operations.status, name, False)
        if stat.S_ISLNK(seen["st_mode"]):
            raise SFTPOpUnsupported("the attributes of symlinks stay as they are")
        await self._guest.change(operations.change, name, _wanted(attrs))

    async def remove(self, path: bytes) -> None:
        await self._guest.change(operations.remove, path_of(path), False)

    async def mkdir(self, path: bytes, attrs: SFTPAttrs) -> None:
        await self._guest.change(operations.mkdir, path_of(path), False)
        if attrs.permissions is not None:
            await self.setstat(path, SFTPAttrs(permissions=attrs.permissions))

    async def rmdir(self, path: bytes) -> None:
        await self._guest.change(operations.rmdir, path_of(path))

    async def rename(self, oldpath: bytes, newpath: bytes) -> None:
        await self._guest.change(operations.rename, path_of(oldpath), path_of(newpath), False)

    async def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        await self._guest.change(operations.rename, path_of(oldpath), path_of(newpath), True)

    async def symlink(self, oldpath: bytes, newpath: bytes) -> None:
        await self._guest.change(operations.symlink, path_of(newpath), os.fsdecode(oldpath))

    async def link(self, oldpath: bytes, newpath: bytes) -> NoReturn:
        raise SFTPOpUnsupported("hard links are not made")


def _open_to_write(g: Guestfs, path: str, flags: int, permissions: int | None) -> None:
    try:
        seen = operations.status(g, path, True)
    except FileNotFoundError:
        if not flags & FXF_CREAT:
            raise
        operations.begin(g, path, "x" if flags & FXF_EXCL else "w", False, False)
        if permissions is not None:
            operations.change(g, path, Attributes(permissions=permissions & _PERMISSIONS))
        return
    if flags & FXF_CREAT and flags & FXF_EXCL:
        raise failure(errno.EEXIST, path)
    check_regular(path, seen["st_mode"])
    if flags & FXF_TRUNC:
        operations.begin(g, path, "w", False, False)


def _wanted(attrs: SFTPAttrs) -> Attributes:
    return Attributes(
        size=attrs.size,
        permissions=None if attrs.permissions is None else attrs.permissions & _PERMISSIONS,
        owner=None if attrs.uid is None or attrs.gid is None else (attrs.uid, attrs.gid),
        times=None if attrs.atime is None or attrs.mtime is None else (int(attrs.atime), int(attrs.mtime)),
    )


def _attributes(seen: StatNS) -> SFTPAttrs:
    return SFTPAttrs(
        size=seen["st_size"],
        uid=seen["st_uid"] & _WORD,
        gid=seen["st_gid"] & _WORD,
        permissions=seen["st_mode"],
        atime=_seconds(seen["st_atime_sec"]),
        mtime=_seconds(seen["st_mtime_sec"]),
        nlink=seen["st_nlink"],
    )


def _attributes_of_entry(entry: Entry) -> SFTPAttrs:
    return SFTPAttrs(
        size=entry["size"],
        uid=entry["uid"] & _WORD,
        gid=entry["gid"] & _WORD,
        permissions=entry["mode"],
        atime=_seconds(entry["mtime"]),
        mtime=_seconds(entry["mtime"]),
    )


def _seconds(time: int) -> int:
    """Return a time as the protocol has it: a guest's may be before 1970 or after 2106."""
    return min(max(time, 0), _WORD)


def _space(g: Guestfs, path: str) -> SFTPVFSAttrs:
    operations.status(g, path, True)
    seen = g.statvfs(path)
    return SFTPVFSAttrs(
        bsize=seen["bsize"],
        frsize=seen["frsize"],
        blocks=seen["blocks"],
        bfree=seen["bfree"],
        bavail=seen["bavail"],
        files=seen["files"],
        ffree=seen["ffree"],
        favail=seen["favail"],
        fsid=seen["fsid"] & _FAR,
        flags=seen["flag"],
        namemax=seen["namemax"],
    )
