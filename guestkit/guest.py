"""Access to a guest's files without inspecting and mounting by hand.

    with open_guest("web.qcow2") as g:
        print(g.read_file("/etc/fstab").decode())

File names and content come from the guest: treat them as hostile.
"""

from __future__ import annotations

import errno
import logging
import posixpath
import stat
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Unpack

from guestkit.errors import Error
from guestkit.files import FileKind, GuestFile
from guestkit.generated.values import Mounted
from guestkit.handle import Guestfs
from guestkit.handle_options import INSPECTION, HandleKeywords, HandleOptions, options_from
from guestkit.images import Backing, InUse, OpenDiskOptions, add_disks
from guestkit.inspection import Key, NativeKey, native_keys, path_list
from guestkit.unpack import UNPACK, UnpackLimits

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath

__all__ = [
    "Mounted",
    "NativeMountOptions",
    "guest_path",
    "list_files",
    "mount_guest",
    "open_guest",
    "read_chunks",
    "status",
]

_log = logging.getLogger("guestkit")

#: The most that one `pread` returns, in bytes.
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


#: The arguments of `mount_guest` as C++ takes them: root, readonly, keys, step.
NativeMountOptions = tuple[str | None, bool, tuple[NativeKey, ...], Callable[[str], object] | None]


@contextmanager
def open_guest(
    disk: StrOrBytesPath | Sequence[StrOrBytesPath],
    options: HandleOptions | None = None,
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
    **handle: Unpack[HandleKeywords],
) -> Generator[Guestfs, None, None]:
    """Launch an appliance with the disk or disks, and mount the filesystems of the guest's operating system.

    When the context ends without an exception, everything the block wrote is on the disk. If that fails, the
    end of the context raises Error.

    root, keys: as in `mount_guest`
    readonly, format, backing, protocols, in_use, blocksize, unpack: as in `Guestfs.open_disks`
    step: called with what is being done
    options: the handle's, as one value; None: those for inspection, `HandleOptions(appliance="inspection")`
    handle: single fields of `HandleOptions`; they win over options
    """
    tell = step or (lambda text: None)
    with Guestfs(options_from(options, handle, INSPECTION, "open_guest")) as g:
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
    """Mount a guest's filesystems as its operating system would, on a launched handle.

    Filesystems other than / that cannot be mounted are reported in the result and in the log. No mountpoint
    leads out of the guest: one with ".." or with a symlink in its path is not mounted. If the choice is not
    clear, raises Error that names the candidates. It is one call: `call_timeout` covers all of it.

    root: the filesystem that becomes /, or a name for it such as UUID=…; nothing is examined but that
        filesystem and those in its fstab. If it holds no operating system, it is mounted alone. None: the
        root of the only operating system, or the only filesystem
    keys: for encrypted disks
    """
    if not isinstance(readonly, bool):
        raise TypeError(f"mount_guest() argument 'readonly' must be bool, not {type(readonly).__name__}")
    options: NativeMountOptions = (root, readonly, native_keys(keys), step)
    mounted = Mounted.from_native(g._mount_guest(options))
    for failure in mounted.failures:
        _log.warning("%s", failure.message)
    return mounted


def list_files(g: Guestfs, path: str, *, recursive: bool = False) -> list[GuestFile]:
    """Return what is in a directory, or the file itself. If `path` is a symlink, it is followed in the guest.

    recursive: everything below, each directory before its entries; no symlinks are followed there
    """
    if g.is_dir(path, followsymlinks=True):
        return g.walk(path, **({} if recursive else {"max_depth": 0}))
    return [status(g, path)]


def status(g: Guestfs, path: str) -> GuestFile:
    """Return a file as lstat sees it; raise Error with ENOENT if there is none."""
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
    """Yield the content of a regular file of any size; a symlink is followed in the guest.

    Raises Error for anything but a regular file: a FIFO or a device could hang the appliance.
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
    """Return the guest path without `.`, `..` and double slashes. Raise ValueError if it is not absolute."""
    if not path.startswith("/"):
        raise ValueError(f"a path in the guest begins with /: {path!r}")
    return posixpath.normpath("/" + path.lstrip("/"))
