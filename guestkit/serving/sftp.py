"""A guest's files by SFTP.

asyncssh's own `SFTPServer` serves this host's files, so every method of it that opens something is replaced,
and what may have been forgotten ends in `map_path`, which refuses.
"""

from __future__ import annotations

import errno
import os
import stat
import weakref
from collections.abc import AsyncIterator
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

from guestkit import _operations as operations
from guestkit._file_errors import check_regular, failure
from guestkit._operations import Attributes, Entry
from guestkit._text import printable
from guestkit.serving.guest import GuestFiles, path_of
from guestkit.serving.limits import OPEN, OPEN_BY_ALL
from guestkit.serving.open_file import OpenFile

if TYPE_CHECKING:
    from guestkit.generated.structs import StatNS
    from guestkit.handle import Guestfs

T = TypeVar("T")

_WORD = 0xFFFFFFFF
_64_BITS = 0xFFFFFFFFFFFFFFFF

#: The permissions that a client may set: not the kind of the file.
_PERMISSIONS = 0o7777


class Files(asyncssh.SFTPServer):
    """The guest's files for one session."""

    def __init__(
        self, chan: asyncssh.SSHServerChannel[bytes], *, guest: GuestFiles, opened: weakref.WeakSet[object]
    ) -> None:
        """Prepare a session. opened: files and directories of all sessions, to which its own are added."""
        super().__init__(chan)
        self._guest = guest
        self.readonly = guest.readonly
        self._opened: weakref.WeakSet[object] = weakref.WeakSet()
        self._opened_by_all = opened

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
        file = self._counted(name, OpenFile(self._guest, name, append=bool(pflags & FXF_APPEND)))
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
        fsid=seen["fsid"] & _64_BITS,
        flags=seen["flag"],
        namemax=seen["namemax"],
    )
