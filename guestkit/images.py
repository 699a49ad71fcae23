"""Disk images, known before anybody opens them.

    info = probe("disk.qcow2")
    print(info.format, info.virtual_size, info.references)

guestkit reads the headers itself: QEMU would guess the format and follow whatever other files the image
names.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from guestkit import _native
from guestkit.errors import Error
from guestkit.generated.values import ImageExtent, ImageInfo, ImageReference, ImageSnapshot
from guestkit.unpack import PACKED, UNPACK, UnpackLimits

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath

    from guestkit.handle import Guestfs

__all__ = [
    "Backing",
    "ImageExtent",
    "ImageInfo",
    "ImageReference",
    "ImageSnapshot",
    "InUse",
    "NativeOpenDiskOptions",
    "OpenDiskOptions",
    "PlainDisk",
    "Under",
    "add_disks",
    "disks_for",
    "packed_by",
    "plain_disks",
    "policy_of",
    "probe",
    "under",
]


def probe(path: StrOrBytesPath, format: str | None = None) -> ImageInfo:
    """Read what the disk image is, and everything outside the file that it refers to.

    Reads the header and, of a qcow2, at most some 100 MB of tables; opens no other file and starts nothing.
    Regular files and block devices only: a FIFO cannot make it hang. Raises Error that says what is wrong
    with the image, and at which offset.

    format: QEMU's name; None: by what the file begins with. A guest can make its raw disk look like any other
        format: state "raw" where you know it
    """
    return ImageInfo.from_native(_native.probe(path, format))


@dataclass(frozen=True, slots=True)
class Under:
    """What `under` returns."""

    directory: StrOrBytesPath


def under(directory: StrOrBytesPath) -> Under:
    """Permit what really lies beneath the directory: `open_disk(…, backing=under("/images"))`."""
    os.fspath(directory)  # TypeError for what is none
    return Under(directory)


#: What becomes of an image that names other files of the host: backing files, data files, extents.
Backing = Literal["refuse", "allow"] | Under


def policy_of(op: str, backing: Backing) -> tuple[str, StrOrBytesPath | None]:
    """Return the rule and its directory."""
    if isinstance(backing, Under):
        return "under", backing.directory
    if backing not in ("refuse", "allow"):
        raise ValueError(
            f'{op}() argument \'backing\' must be "refuse", "allow" or under(directory), not {backing!r}'
        )
    return backing, None


#: What becomes of a disk to which another program writes, such as that of a guest that runs.
InUse = Literal["allow", "refuse"]

#: `OpenDiskOptions` for C++: readonly, format, the rule of backing and its directory, protocols, snapshot,
#: whether to refuse a disk in use, blocksize.
NativeOpenDiskOptions = tuple[
    bool,
    "StrOrBytesPath | None",
    str,
    "StrOrBytesPath | None",
    "Iterable[StrOrBytesPath]",
    "StrOrBytesPath | None",
    bool,
    int | None,
]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenDiskOptions:
    """How disks are opened: as `Guestfs.open_disk` says, on the way from whoever is asked to open one."""

    readonly: bool = True
    format: StrOrBytesPath | None = None
    backing: Backing = "refuse"
    protocols: Iterable[StrOrBytesPath] = ("file",)
    snapshot: StrOrBytesPath | None = None
    in_use: InUse = "allow"
    blocksize: int | None = None
    unpack: UnpackLimits | None = UNPACK

    def native(self, op: str) -> NativeOpenDiskOptions:
        """Return it for C++; for nonsense raise ValueError or TypeError, which names the argument of op."""
        if not isinstance(self.readonly, bool):
            raise TypeError(f"{op}() argument 'readonly' must be bool, not {type(self.readonly).__name__}")
        if self.in_use not in ("allow", "refuse"):
            raise ValueError(f'{op}() argument \'in_use\' must be "allow" or "refuse", not {self.in_use!r}')
        if self.blocksize not in (None, 512, 4096):
            raise ValueError(f"{op}() argument 'blocksize' must be 512, 4096 or None, not {self.blocksize!r}")
        rule, directory = policy_of(op, self.backing)
        protocols = self.protocols if isinstance(self.protocols, (str, bytes)) else tuple(self.protocols)
        refuse = self.in_use == "refuse"
        return (
            self.readonly,
            self.format,
            rule,
            directory,
            protocols,
            self.snapshot,
            refuse,
            self.blocksize,
        )

    def finds_packed(self, path: StrOrBytesPath) -> bool:
        """Tell whether what is opened is in the file, and not the file itself."""
        if self.unpack is None or not self.readonly or self.format is not None or self.snapshot is not None:
            return False
        if "file" in self.protocols and packed_by(path):
            return True
        if self.unpack.member is not None and os.path.isfile(path):
            name = os.fsdecode(path)
            raise Error("open_disk", f"{name}: is no archive: there is no member to choose", errno.EINVAL)
        return False


@dataclass(frozen=True, slots=True)
class PlainDisk:
    """A disk as it is opened: a file that was given, or a private one with what was packed.

    Attributes:
        path: for this process
        name: for messages; "": the path tells
    """

    path: StrOrBytesPath
    name: str = ""

    @contextmanager
    def named(self) -> Iterator[None]:
        """Have what is raised name the disk: nobody knows a private file."""
        try:
            yield
        except Error as error:
            unknown = f"{os.fsdecode(self.path)}: "
            if not self.name or type(error) is not Error or not error.message.startswith(unknown):
                raise
            message = f"{self.name}: {error.message.removeprefix(unknown)}"
            raise Error(error.op, message, error.errno) from error


@contextmanager
def plain_disks(
    op: str,
    paths: Iterable[StrOrBytesPath],
    options: OpenDiskOptions,
    folder: StrOrBytesPath,
    beat: Callable[[], object],
    *,
    one: bool = False,
) -> Iterator[Sequence[PlainDisk]]:
    """Unpack what is packed; yield the disks of the guest. The private files end with the context.

    op: what raises Error
    folder, beat, one: as in `unpacked`
    """
    with ExitStack() as stack:
        disks = []
        for path in paths:
            if options.unpack is None or not options.finds_packed(path):
                disks.append(PlainDisk(path))
                continue
            from guestkit._unpacking import unpacked  # which others need not load

            name = os.fsdecode(path)
            try:
                found = stack.enter_context(
                    unpacked(path, packed_by, folder, options.unpack, beat, op=op, one=one)
                )
            except Error as error:
                if type(error) is not Error:  # the call was ended, whatever it was busy with
                    raise
                raise Error(error.op, f"{name}: {error.message}", error.errno) from error
            except OSError as error:
                raise Error(op, f"{name}: {error.strerror}", error.errno or 0) from error
            disks += [PlainDisk(each.path, f"{name} ({each.inside})") for each in found]
        yield disks


@contextmanager
def disks_for(
    handle: Guestfs,
    paths: Sequence[StrOrBytesPath],
    options: OpenDiskOptions,
    *,
    step: Callable[[str], object] | None = None,
    one: bool = False,
) -> Iterator[Sequence[PlainDisk]]:
    """Yield the disks as the handle can open them. Unpacking them is a call of the handle: it has its limits.

    step: told when something is unpacked
    """
    if not (packed := [path for path in paths if options.finds_packed(path)]):
        yield [PlainDisk(path) for path in paths]
        return
    if (backend := handle.get_backend()) != "direct":
        reason = f"the backend {backend!r} cannot be given a file without a name"
        name = os.fsdecode(packed[0])
        raise Error("open_disk", f"{name}: is packed, and {reason}: unpack it first", errno.ENOTSUP)
    if step is not None:
        step("unpacking")
    folder = handle.get_tmpdir()
    with ExitStack() as stack:
        handle._begin_opening()
        try:
            disks = stack.enter_context(
                plain_disks("open_disk", paths, options, folder, handle._check_turn, one=one)
            )
        finally:
            handle._end_turn()
        yield disks


def add_disks(
    handle: Guestfs,
    paths: Sequence[StrOrBytesPath],
    options: OpenDiskOptions,
    *,
    step: Callable[[str], object] | None = None,
    one: bool = False,
) -> list[ImageInfo]:
    """Do what `Guestfs.open_disks` says; one: what `Guestfs.open_disk` does."""
    if not isinstance(options.protocols, (str, bytes)):
        options = replace(options, protocols=tuple(options.protocols))
    native = options.native("open_disk")

    def add(disk: PlainDisk) -> ImageInfo:
        with disk.named():
            return ImageInfo.from_native(handle._open_disk(disk.path, native))

    with disks_for(handle, paths, options, step=step, one=one) as disks:
        return [add(disk) for disk in disks]


def packed_by(path: StrOrBytesPath) -> str:
    """Return what made a file that is packed, one of PACKED; "" for a disk, or for what is none."""
    try:
        content = probe(path, "raw").content  # does not read the tables of a large disk
        return content if content in PACKED and probe(path).format == "raw" else ""
    except Error:
        return ""
