"""A guest's files, without inspecting and mounting by hand.

    with open_guest("web.qcow2") as g:
        print(g.read_file("/etc/fstab").decode())

Names of files and their content are the guest's: hostile.
"""

from __future__ import annotations

import errno
import logging
import posixpath
import stat
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from guestkit.errors import Error
from guestkit.files import FileKind, GuestFile
from guestkit.generated.values import Mounted
from guestkit.handle import Guestfs
from guestkit.images import Backing, InUse, OpenDiskOptions, add_disks
from guestkit.inspection import Key, native_keys, path_list
from guestkit.unpack import UNPACK, UnpackLimits

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath

__all__ = ["Mounted", "guest_path", "list_files", "mount_guest", "open_guest", "read_chunks", "status"]

_log = logging.getLogger("guestkit")

#: As much as one message of `pread` carries, in bytes.
_CHUNK = 2 << 20

_KINDS: Mapping[int, FileKind] = {
    stat.S_IFREG: "-",
    stat.S_IFDIR: "d",
    stat.S_IFLNK: "l",
    stat.S_IFBLK: "b",
    stat.S_IFCHR: "c",
    stat.S_IFIFO: "p",
    stat.S_IFSOCK: "s",
}


@contextmanager
def open_guest(
    disk: StrOrBytesPath | Sequence[StrOrBytesPath],
    *,
    root: str | None = None,
    readonly: bool = True,
    format: str | None = None,
    backing: Backing = "refuse",
    protocols: Iterable[str] = ("file",),
    in_use: InUse = "allow",
    blocksize: int | None = None,
    unpack: UnpackLimits | None = UNPACK,
    keys: Iterable[Key] = (),
    step: Callable[[str], object] | None = None,
    **handle: Any,
) -> Generator[Guestfs, None, None]:
    """Launch an appliance with the disk or disks, and mount the filesystems of the guest's operating system.

    Once the context has ended without an exception, what the block has written is on the disk. The end of the
    context raises Error if that fails.

    root, keys: as in `mount_guest`
    readonly, format, backing, protocols, in_use, blocksize, unpack: as in `Guestfs.open_disks`
    step: called with what is being done
    handle: options of `Guestfs`
    """
    tell = step or (lambda text: None)
    with Guestfs(**{"appliance": "inspection", **handle}) as g:
        opening = OpenDiskOptions(
            readonly=readonly,
            format=format,
            backing=backing,
            protocols=protocols,
            in_use=in_use,
            blocksize=blocksize,
            unpack=unpack,
        )
        add_disks(g, path_list(disk), opening, step=step)
        tell("starting the appliance")
        g.launch()
        mount_guest(g, root=root, readonly=readonly, keys=keys, step=step)
        yield g
        if not readonly:
            tell("writing to the disk")
            g.umount_all()
            g.shutdown()


def mount_guest(
    g: Guestfs,
    *,
    root: str | None = None,
    readonly: bool = True,
    keys: Iterable[Key] = (),
    step: Callable[[str], object] | None = None,
) -> Mounted:
    """Mount a guest's filesystems as its operating system would, on a handle that is launched.

    What cannot be mounted beside / is told in the result, and by the log. No guest's mountpoint leads out of
    the guest: one with ".." or with a symlink on its way is not mounted. Raises Error that names what there
    is to choose from. One call: `call_timeout` is the time for all of it.

    root: the filesystem that becomes /, or a name such as UUID=… that stands for one; only that one is looked
        at, and what its own fstab names; where no operating system is on it, it is mounted alone. None: that
        of the only operating system, or the only filesystem
    keys: for encrypted disks
    """
    mounted = Mounted.from_native(g._mount_guest(root, readonly, native_keys(keys), step))
    for failure in mounted.failures:
        _log.warning("%s", failure.message)
    return mounted


def list_files(g: Guestfs, path: str, *, recursive: bool = False) -> list[GuestFile]:
    """Return what is in a directory, or the file itself; a symlink that is named is followed, in the guest.

    recursive: everything below, a directory before what it holds; no symlink is followed there
    """
    if g.is_dir(path, followsymlinks=True):
        return g.walk(path, **({} if recursive else {"max_depth": 0}))
    return [status(g, path)]


def status(g: Guestfs, path: str) -> GuestFile:
    """Return a file as lstat sees it; Error with ENOENT if there is none."""
    seen = g.lstatns(path)
    kind = _KINDS.get(stat.S_IFMT(seen["st_mode"]), "?")
    return GuestFile(
        path=path,
        kind=kind,
        size=seen["st_size"],
        mode=stat.S_IMODE(seen["st_mode"]),
        uid=seen["st_uid"],
        gid=seen["st_gid"],
        mtime=seen["st_mtime_sec"],
        target=g.readlink(path) if kind == "l" else "",
    )


def read_chunks(g: Guestfs, path: str) -> Generator[bytes, None, None]:
    """Yield the content of a regular file of any size; a symlink is followed, in the guest.

    Raises Error for what is none: a FIFO or a device could hang the appliance.
    """
    if not g.is_file(path, followsymlinks=True):
        there = g.exists(path)
        reason = "is no regular file" if there else "no such file"
        raise Error("read_chunks", f"{path}: {reason}", errno.EINVAL if there else errno.ENOENT)
    offset = 0
    while chunk := g.pread(path, _CHUNK, offset):
        yield chunk
        offset += len(chunk)


def guest_path(path: str) -> str:
    """Return the path of the guest without `.`, `..` and doubled slashes. ValueError: it is not absolute."""
    if not path.startswith("/"):
        raise ValueError(f"a path in the guest begins with /: {path!r}")
    return posixpath.normpath("/" + path.lstrip("/"))
