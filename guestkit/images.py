"""Disk images, examined before QEMU opens them.

    info = probe("disk.qcow2")
    print(info.format, info.virtual_size, info.references)

guestkit reads the headers itself, because QEMU would guess the format and open any other file that the image
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
    """Find out what the disk image is, and everything outside the file that it refers to.

    Reads the header and, of a qcow2, at most some 100 MB of tables; opens no other file and starts nothing.
    Takes only regular files and block devices, so a FIFO cannot make it hang. Raises Error that says what is
    wrong with the image, and at which offset.

    format: QEMU's name; None: detect it from the start of the file. A guest can make its raw disk look like
        any other format, so state "raw" if you know that it is
    """
    return ImageInfo.from_native(_native.probe(path, format))


@dataclass(frozen=True, slots=True)
class Under:
    """What `under` returns."""

    directory: StrOrBytesPath


def under(directory: StrOrBytesPath) -> Under:
    """Permit files that really lie beneath the directory: `open_disk(…, backing=under("/images"))`."""
    os.fspath(directory)  # raises TypeError if it is not a path
    return Under(directory)


#: How to treat an image that names other files on the host: backing files, data files, extents.
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


#: How to treat a disk that another program is writing to, such as that of a running guest.
InUse = Literal["allow", "refuse"]

#: `OpenDiskOptions` as C++ takes them: readonly, format, the backing rule and its directory, protocols,
#: snapshot, whether to refuse a disk in use, blocksize.
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
    """How to open disks: the arguments of `Guestfs.open_disk`, bundled so that callers can pass them on."""

    readonly: bool = True
    format: StrOrBytesPath | None = None
    backing: Backing = "refuse"
    protocols: Iterable[StrOrBytesPath] = ("file",)
    snapshot: StrOrBytesPath | None = None
    in_use: InUse = "allow"
    blocksize: int | None = None
    unpack: UnpackLimits | None = UNPACK

    def native(self, op: str) -> NativeOpenDiskOptions:
        """Return the options as C++ takes them; ValueError or TypeError names a wrong argument of op."""
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
        """Return whether the file is packed and its content, not the file itself, is to be opened."""
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
    """A disk ready to be opened: the file that was given, or a private one with its unpacked content.

    Attributes:
        path: valid in this process
        name: for messages; "": use the path
    """

    path: StrOrBytesPath
    name: str = ""

    @contextmanager
    def named(self) -> Iterator[None]:
        """Make errors name the disk that was given: the path of a private file would tell a user nothing."""
        try:
            yield
        except Error as error:
            unknown = f"{os.fsdecode(self.path)}: "
            if not self.name or type(error) is not Error or not error.message.startswith(unknown):
                raise
            raise error.reworded(f"{self.name}: {error.message.removeprefix(unknown)}") from error


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
    """Unpack what is packed; yield the disks of the guest. The private files last as long as the context.

    op: the operation that errors name
    folder, beat, one: as in `unpacked`
    """
    with ExitStack() as stack:
        disks = []
        for path in paths:
            if options.unpack is None or not options.finds_packed(path):
                disks.append(PlainDisk(path))
                continue
            from guestkit._unpacking import unpacked  # only packed disks pay for this import

            name = os.fsdecode(path)
            try:
                found = stack.enter_context(
                    unpacked(path, packed_by, folder, options.unpack, beat, op=op, one=one)
                )
            except Error as error:
                if type(error) is not Error:  # the call was ended: that is no fault of this disk
                    raise
                raise error.reworded(f"{name}: {error.message}") from error
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
    """Yield the disks in a form that the handle can open. Unpacking counts as a call: its limits apply.

    step: called when unpacking starts
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
    """Implement `Guestfs.open_disks`, or, if `one` is set, `Guestfs.open_disk`."""
    if not isinstance(options.protocols, (str, bytes)):
        options = replace(options, protocols=tuple(options.protocols))
    native = options.native("open_disk")

    def add(disk: PlainDisk) -> ImageInfo:
        with disk.named():
            return ImageInfo.from_native(handle._open_disk(disk.path, native))

    with disks_for(handle, paths, options, step=step, one=one) as disks:
        return [add(disk) for disk in disks]


def packed_by(path: StrOrBytesPath) -> str:
    """Return how the file is packed: one of PACKED, or "" for a disk or anything else."""
    try:
        content = probe(path, "raw").content  # as raw, so that the tables of a large disk are not read
        return content if content in PACKED and probe(path).format == "raw" else ""
    except Error:
        return ""
