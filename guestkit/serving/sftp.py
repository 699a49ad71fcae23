"""SFTP, by asyncssh.

asyncssh's own `SFTPServer` serves this host's files, so every method of it that opens something is replaced,
and what may have been forgotten ends in `map_path`, which refuses.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING, NoReturn, cast

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

from guestkit import _operations as operations
from guestkit._file_errors import check_regular, failure
from guestkit._operations import Attributes, Entry
from guestkit._text import printable
from guestkit.serving.gate import Gate
from guestkit.serving.guest import Guest, path_of

if TYPE_CHECKING:
    import socket

    from guestkit.generated.structs import StatNS
    from guestkit.handle import Guestfs

#: The most that is read ahead for an open file, in bytes, and the most of a write in one turn.
AHEAD = 1 << 20

#: The most files that a client may have open.
OPEN = 128

_WORD = 0xFFFFFFFF
_FAR = 0xFFFFFFFFFFFFFFFF

#: The permissions that a client may set: not the kind of the file.
_PERMISSIONS = 0o7777


async def listen(place: socket.socket, guest: Guest, gate: Gate, key: asyncssh.SSHKey) -> Listener:
    """Serve SFTP, and nothing else of SSH, on the socket."""
    clients: set[asyncssh.SSHServerConnection] = set()
    acceptor = await asyncssh.listen(
        sock=place,
        config=[],
        server_factory=partial(_Client, gate, clients),
        server_host_keys=[key],
        sftp_factory=partial(Files, guest=guest),
        sftp_version=3,
        encoding=None,
        password_auth=True,
        public_key_auth=False,
        host_based_auth=False,
        kbdint_auth=False,
        gss_host=None,
        allow_pty=False,
        agent_forwarding=False,
        x11_forwarding=False,
        login_timeout=60,
        server_version="guestkit",
    )
    return Listener(acceptor, clients)


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


class _Client(asyncssh.SSHServer):
    """One connection."""

    def __init__(self, gate: Gate, clients: set[asyncssh.SSHServerConnection]) -> None:
        self._gate = gate
        self._clients = clients

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._clients.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        self._clients.discard(self._connection)

    def password_auth_supported(self) -> bool:
        return True

    async def validate_password(self, username: str, password: str) -> bool:
        address = self._connection.get_extra_info("peername")[0]
        return await self._gate.admits(address, username, password)


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
    """The guest's files for one client."""

    def __init__(self, chan: asyncssh.SSHServerChannel[bytes], *, guest: Guest) -> None:
        super().__init__(chan)
        self._guest = guest
        self._open = 0

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

    async def scandir(self, path: bytes) -> AsyncIterator[SFTPName]:
        for entry in await self._guest.entries(path_of(path)):
            yield SFTPName(os.fsencode(os.path.basename(entry["name"])), attrs=_attributes_of_entry(entry))

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
        if self._open >= OPEN:
            raise failure(errno.EMFILE, name)
        self._open += 1
        try:
            if pflags & (FXF_WRITE | FXF_APPEND):
                await self._guest.change(_open_to_write, name, pflags, attrs.permissions)
            else:
                seen = await self._guest.look(operations.status, name, True)
                check_regular(name, seen["st_mode"])
        except BaseException:
            self._open -= 1
            raise
        return OpenFile(self._guest, name, pflags)

    async def open56(self, path: bytes, desired_access: int, flags: int, attrs: SFTPAttrs) -> NoReturn:
        raise SFTPOpUnsupported("not supported")  # of later versions of the protocol

    async def close(self, file_obj: object) -> None:
        self._open -= 1

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
