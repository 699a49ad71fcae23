"""Access to a guest's files without inspecting and mounting by hand.

    with open_guest("web.qcow2") as g:
        print(printable(g.read_small("/etc/hostname").decode(errors="replace")))

File names and content come from the guest: treat them as hostile.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Unpack

from guestkit._taking import taking
from guestkit._text import printable
from guestkit.disks import Guest, add_disks
from guestkit.errors import Error, is_final
from guestkit.files import guest_path
from guestkit.generated.values import Mounted, PartFailure
from guestkit.handle import Guestfs, check_blocking
from guestkit.handle_options import INSPECTION, HandleOptions, name_options_of, options_from
from guestkit.inspection import Key, NativeKey, checked_keys, native_keys
from guestkit.opening import GuestKeywords, OpenDiskOptions, opening_from, parted

__all__ = [
    "GuestArguments",
    "Mounted",
    "NativeMountOptions",
    "finish",
    "guest_arguments",
    "launched",
    "mount_guest",
    "open_guest",
]

_log = logging.getLogger("guestkit")

#: What `GuestArguments.tell` is told.
STARTING = "starting the appliance"
WRITING = "writing to the disk"

#: The arguments of `mount_guest` as C++ takes them: root, readonly, keys, step.
NativeMountOptions = tuple[str | None, bool, tuple[NativeKey, ...], Callable[[str], object] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestArguments:
    """The arguments of `open_guest`, here and in guestkit.aio."""

    guest: Guest
    root: str | None = None
    mounts: Mapping[str, str] | None = None
    keys: tuple[Key, ...]
    opening: OpenDiskOptions
    handle: HandleOptions
    step: Callable[[str], object] | None = None

    def tell(self, what: str) -> None:
        """Tell what is being done."""
        if self.step is not None:
            self.step(what)

    def mount(self, g: Guestfs) -> Mounted:
        """Mount the guest's filesystems, on a launched handle."""
        readonly = self.opening.readonly
        return mount_guest(
            g, root=self.root, mounts=self.mounts, readonly=readonly, keys=self.keys, step=self.step
        )


def guest_arguments(
    disk: Guest,
    options: HandleOptions | None = None,
    *,
    root: str | None = None,
    mounts: Mapping[str, str] | None = None,
    readonly: bool = True,
    keys: Iterable[Key] = (),
    step: Callable[[str], object] | None = None,
    **keywords: Unpack[GuestKeywords],
) -> GuestArguments:
    """Bundle the arguments of `open_guest`."""
    of_disks, of_handle = parted(keywords)
    # Programs of a guest that is changed, such as update-grub, look below /dev/disk.
    usual = INSPECTION if readonly else HandleOptions()
    return GuestArguments(
        guest=disk,
        root=root,
        mounts=mounts,
        keys=checked_keys(keys),
        opening=opening_from("open_guest", of_disks, readonly=readonly),
        handle=options_from(options, of_handle, usual, "open_guest"),
        step=step,
    )


name_options_of(guest_arguments, OpenDiskOptions(), INSPECTION)


@taking(guest_arguments)
@contextmanager
def open_guest(asked: GuestArguments) -> Generator[Guestfs, None, None]:
    """Launch an appliance with the disk or disks, and mount the filesystems of the guest's operating system.

    A `guestkit.Domain` in place of the disk is a guest of libvirt. When the context ends without an
    exception, everything the block wrote is on the disk. If that fails, the end of the context raises Error.
    `Guestfs.mount_info` tells what is mounted, and what could not be.

    root, mounts, keys: as in `mount_guest`
    readonly, format, backing, protocols, snapshot, in_use, blocksize, unpack: as in `Guestfs.open_disk`, for
        all the disks
    step: called with what is being done
    options: the handle's, as one value; None: those for inspection, `HandleOptions(appliance="inspection")`,
        where the guest is only read. Keywords that are fields of `HandleOptions` win over it
    """
    with launched(asked) as g:
        asked.mount(g)
        yield g


@contextmanager
def launched(asked: GuestArguments) -> Generator[Guestfs, None, None]:
    """Launch an appliance with the disks, of which nothing is mounted; the end is that of `open_guest`."""
    with Guestfs(asked.handle) as g:
        add_disks(g, asked.guest, asked.opening, step=asked.step)
        asked.tell(STARTING)
        g.launch()
        yield g
        if not asked.opening.readonly:
            asked.tell(WRITING)
            finish(g)


def finish(g: Guestfs) -> None:
    """Have everything written to the disks, and end the appliance; `close` does not tell of errors."""
    g.umount_all()
    g.shutdown()


def mount_guest(
    g: Guestfs,
    *,
    root: str | None = None,
    mounts: Mapping[str, str] | None = None,
    readonly: bool = True,
    keys: Iterable[Key] = (),
    step: Callable[[str], object] | None = None,
) -> Mounted:
    """Mount a guest's filesystems as its operating system would, on a launched handle.

    Filesystems other than / that cannot be mounted are reported in the result and in the log. No mountpoint
    leads out of the guest: one with ".." or with a symlink in its path is not mounted. If the choice is not
    clear, raises Error that names the candidates. It is one call, unless mounts are given: `call_timeout`
    covers all of it.

    root: the filesystem that becomes /: its device, such as "/dev/sda2" or "sda2", or another name for it
        such as "LABEL=root"; nothing is examined but that filesystem and those in its fstab. If it holds no
        operating system, it is mounted alone. None: the root of the only operating system, or the only
        filesystem
    mounts: instead of a root, the filesystems to mount, by mountpoint, named as a root is, and no others:
        {"/": "sda2", "/boot": "sda1"}; each is mounted or raises Error. If one other than / can only
        be mounted read-only, the result and the log say so
    keys: for encrypted disks
    """
    check_blocking("mount_guest", g)
    if not isinstance(readonly, bool):
        raise TypeError(f"mount_guest() argument 'readonly' must be bool, not {type(readonly).__name__}")
    known = native_keys(keys)
    g._mount_info = None
    if mounts is not None:
        if root is not None:
            raise TypeError("mount_guest() takes a root, whose fstab names the others, or mounts, not both")
        mounted = _mount_exactly(g, mounts, readonly, known, step)
    else:
        options: NativeMountOptions = (None if root is None else _device(root), readonly, known, step)
        mounted = Mounted.from_native(g._mount_guest(options))
    for failure in mounted.failures:
        _log.warning("%s", printable(failure.message))
    g._mount_info = mounted
    return mounted


def _mount_exactly(
    g: Guestfs,
    mounts: Mapping[str, str],
    readonly: bool,
    keys: tuple[NativeKey, ...],
    step: Callable[[str], object] | None,
) -> Mounted:
    places = {guest_path(mountpoint): device for mountpoint, device in mounts.items()}
    if "/" not in places or len(places) < len(mounts):
        raise ValueError("mount_guest() argument 'mounts' needs a filesystem for /, each place only once")
    try:
        return _mount_places(g, {path: _device(name) for path, name in places.items()}, readonly)
    except Error as error:
        # The appliance is gone, the call was ended, or it is the place that is wrong.
        if is_final(error) or error.op == "mount_guest":
            raise
    # It is a name such as LABEL=data, is encrypted, or is not there. This finds it, or says what there is.
    devices = {
        path: Mounted.from_native(g._mount_guest((_device(name), True, keys, step))).root
        for path, name in places.items()
    }
    return _mount_places(g, devices, readonly)


def _mount_places(g: Guestfs, devices: Mapping[str, str], readonly: bool) -> Mounted:
    g.umount_all()
    failures: list[PartFailure] = []
    for path, device in sorted(devices.items()):
        if path != "/":
            _check_place(g, path)
        if "," in device:
            reason = "a comma in its name would begin another option of mount(8)"
            raise Error("mount_guest", f"{printable(device)}: {reason}", errno.EINVAL)
        (g.mount_ro if readonly else g.mount)(device, path)
        if readonly or (fault := _read_only_fault(g, device, path)) is None:
            continue
        if path == "/":
            g.umount_all()
            raise fault
        how = "read-only " if fault.errno == errno.EROFS else ""
        message = f'{fault.message}; it is mounted {how}on "{printable(path)}"'
        failures.append(PartFailure(part="mountpoints", message=message, op="mount_guest", errno=fault.errno))
    mountpoints = dict(sorted(devices.items()))
    return Mounted(root=devices["/"], mountpoints=mountpoints, system=None, failures=tuple(failures))


def _read_only_fault(g: Guestfs, device: str, path: str) -> Error | None:
    """Return the error of a filesystem that was mounted read-only instead, as ntfs-3g does without one.

    Or the error of one that does not tell whether it was.
    """
    try:
        flags = g.statvfs(path)["flag"]
    except Error as error:
        if is_final(error):
            raise
        reason = f"{printable(device)}: whether it can be written to is unknown: {printable(error.message)}"
        return Error("mount_guest", reason, error.errno, hint="open the guest read-only")
    if not flags & os.ST_RDONLY:
        return None
    kind = g.vfs_type(device)
    reason = f"{printable(device)}: can only be mounted read-only"
    if kind == "ntfs":
        reason += ": Windows is hibernated, or was shut down with Fast Startup"
        hint = "shut Windows down fully (no Fast Startup, no hibernation), or open the guest read-only"
    else:
        reason += f" ({printable(kind)})"
        hint = "open the guest read-only; if the filesystem is damaged, its own program repairs it (fsck)"
    return Error("mount_guest", reason, errno.EROFS, hint=hint)


def _check_place(g: Guestfs, path: str) -> None:
    """Refuse a mountpoint that is not there, or that leads out of the guest."""
    if not g.is_dir(path):
        raise Error("mount_guest", f"{path}: there is no such directory to mount at", errno.ENOENT)
    if g.realpath(path) != path:
        reason = "is a symlink, or lies below one: nothing is mounted there"
        raise Error("mount_guest", f"{path}: {reason}", errno.ELOOP)


def _device(name: str) -> str:
    """Return the full name: "/dev/sda2" for "sda2"."""
    return name if not name or "=" in name or name.startswith(("/", "btrfsvol:")) else f"/dev/{name}"
