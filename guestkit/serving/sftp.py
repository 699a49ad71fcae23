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
from collections.abc import AsyncIterator
from functools import partial
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
from asyncssh.packet import SSHPacket
from asyncssh.sftp import SFTPServerHandler
from asyncssh.stream import SSHReader, SSHServerStreamSession, SSHWriter

from guestkit import _operations as operations
from guestkit._file_errors import check_regular, failure
from guestkit._operations import Attributes, Entry
from guestkit._text import printable
from guestkit.serving.gate import Gate
from guestkit.serving.guest import Guest, path_of
from guestkit.serving.limits import AHEAD, CONNECTIONS, LOGIN, OPEN, OPEN_BY_ALL, SESSIONS

if TYPE_CHECKING:
    import socket

    from guestkit.generated.structs import StatNS
    from guestkit.handle import Guestfs

T = TypeVar("T")

_WORD = 0xFFFFFFFF
_FAR = 0xFFFFFFFFFFFFFFFF

#: The permissions that a client may set: not the kind of the file.
_PERMISSIONS = 0o7777


async def listen(place: socket.socket, guest: Guest, gate: Gate, key: asyncssh.SSHKey) -> Listener:
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

    def __init__(self, guest: Guest) -> None:
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

    It has no copy-data: a file that is copied into itself has no end, also when the client has gone.
    """

    def __init__(
        self, client: _Client, files: Files, reader: SSHReader[bytes], writer: SSHWriter[bytes]
    ) -> None:
        super().__init__(files, reader, writer, 3)
        self._client = client
        self._extensions = [known for known in self._extensions if known[0] != b"copy-data"]
        self._packet_handlers = {**self._packet_handlers, b"copy-data": None}

    async def _process_packet(self, pkttype: int, pktid: int, packet: SSHPacket) -> None:
        if self._writer is not None:
            await self._writer.drain()
        await self._client.sent()
        await super()._process_packet(pkttype, pktid, packet)


class OpenFile:
    """A file that a client has open, by its name."""

    def __init__(self, guest: Guest, path: str, flags: int) -> None:
        self.path = path
        self._guest = guest
        self._append = bool(flags & FXF_APPEND)
        self._turn = asyncio.Lock()
        self._ahead = 0
        self._start = 0
        self._held = b""
        self._changes = 0

    async def read(self, offset: int, size: int) -> bytes:
        """Return a part; a client that reads one after the other has the next ones fetched before."""
        async with self._turn:
            size = min(size, AHEAD)
            found = self._known(offset, size)
            if len(found) < size:
                await self._fetch(offset + len(found), size - len(found))
                found += self._known(offset + len(found), size - len(found))
            return found

    def _known(self, offset: int, size: int) -> bytes:
        if self._changes != self._guest.changes or offset < self._start:
            return b""
        return self._held[offset - self._start :][:size]

    async def _fetch(self, offset: int, size: int) -> None:
        in_sequence = self._ahead and offset == self._start + len(self._held)
        self._ahead = min(AHEAD, 2 * self._ahead) if in_sequence else size
        self._changes = self._guest.changes
        end = offset + max(size, self._ahead)
        self._held = await self._guest.look(operations.read, self.path, offset, end, end - offset)
        self._start = offset

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
        path = cast(OpenFile, file_obj).path
        return _attributes(await self._guest.look(operations.status, path, True))

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
            seen = await self._guest.look(operations.status, name, True)
            check_regular(name, seen["st_mode"])
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
