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
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guestkit.errors import Error
from guestkit.files import FileKind, GuestFile
from guestkit.handle import Guestfs
from guestkit.images import Backing, InUse
from guestkit.inspection import Inspection, Key, OperatingSystem, Part

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath

_log = logging.getLogger("guestkit")

#: As much as one message of `pread` carries, in bytes.
_CHUNK = 2 << 20

_PARTS: tuple[Part, ...] = ("filesystems",)
_KINDS: Mapping[int, FileKind] = {
    stat.S_IFREG: "-",
    stat.S_IFDIR: "d",
    stat.S_IFLNK: "l",
    stat.S_IFBLK: "b",
    stat.S_IFCHR: "c",
    stat.S_IFIFO: "p",
    stat.S_IFSOCK: "s",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounted:
    """What `mount_guest` has mounted.

    Attributes:
        root: the filesystem at /
        system: the operating system that it belongs to; None: none was found on it
        mountpoints: mountpoint to filesystem
    """

    root: str
    system: OperatingSystem | None
    mountpoints: Mapping[str, str]


@contextmanager
def open_guest(
    disk: StrOrBytesPath,
    *,
    root: str | None = None,
    readonly: bool = True,
    format: str | None = None,
    backing: Backing = "refuse",
    protocols: Iterable[str] = ("file",),
    in_use: InUse = "allow",
    blocksize: int | None = None,
    keys: Iterable[Key] = (),
    step: Callable[[str], object] | None = None,
    **handle: Any,
) -> Generator[Guestfs, None, None]:
    """Launch an appliance with the disk, and mount the filesystems of the guest's operating system.

    What the block has written is on the disk when the context ends without an exception, or that raises
    Error.

    root, keys: as in `mount_guest`
    readonly, format, backing, protocols, in_use, blocksize: as in `Guestfs.open_disk`
    step: called with what is being done
    handle: options of `Guestfs`
    """
    tell = step or (lambda text: None)
    with Guestfs(**{"appliance": "inspection", **handle}) as g:
        g.open_disk(
            disk,
            readonly=readonly,
            format=format,
            backing=backing,
            protocols=protocols,
            in_use=in_use,
            blocksize=blocksize,
        )
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

    Where one beside / cannot be mounted, the log says so. Raises Error that names what there is to choose
    from.

    root: the filesystem that becomes /; where no operating system is on it, it is mounted alone. None: that
    of
        the only operating system, or the only filesystem
    keys: for encrypted disks
    """
    found = g.inspect(parts=_PARTS, keys=keys, step=step)
    if step is not None:
        step("mounting")
    chosen = _root_of(found) if root is None else root
    system = next((each for each in found.operating_systems if each.root == chosen), None)
    wanted = {"/": chosen} if system is None else {"/": chosen, **system.mountpoints}
    mount = g.mount_ro if readonly else g.mount
    mounted = {}
    for mountpoint, device in sorted(wanted.items(), key=lambda item: len(item[0])):
        try:
            mount(device, mountpoint)
            mounted[mountpoint] = device
        except Error as error:
            if mountpoint == "/":
                raise
            _log.warning("%s is not mounted on %s: %s", device, mountpoint, error.message)
    return Mounted(root=chosen, system=system, mountpoints=mounted)


def _root_of(found: Inspection) -> str:
    systems = found.operating_systems
    filesystems = [one for one in found.filesystems if one.type not in ("swap", "unknown")]
    if len(systems) == 1:
        return systems[0].root
    if systems:
        names = ", ".join(f"{one.root} ({one.product_name})" for one in systems)
        raise Error(
            "mount_guest", f"there are several operating systems: choose a root of {names}", errno.EINVAL
        )
    if len(filesystems) == 1 and not found.unopened:
        return filesystems[0].device
    names = ", ".join(f"{one.device} ({one.type})" for one in filesystems) or "none"
    shut = "".join(f"; {one.device} is {one.reason}: {one.message}" for one in found.unopened)
    raise Error(
        "mount_guest",
        f"no operating system was found: choose a root of the filesystems, {names}{shut}",
        errno.ENOENT,
    )


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
