"""Disk images, known before anybody opens them.

    info = probe("disk.qcow2")
    print(info.format, info.virtual_size, info.references)

guestkit reads the headers itself: QEMU would guess the format and follow whatever other files the image
names.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from guestkit import _native
from guestkit.errors import Error
from guestkit.unpack import PACKED, UnpackLimits, unpacked

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath

    from guestkit.handle import Guestfs


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReference:
    """Another file that an image has QEMU open.

    Attributes:
        kind: "backing", "data", "extent" or "parent"
        name: as it stands in the image: a path, or what QEMU takes for a protocol
        format: the one that QEMU will use; None: QEMU guesses
    """

    kind: str
    name: str
    format: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageExtent:
    """A line of a VMDK descriptor; sizes in bytes."""

    access: str
    kind: str
    name: str
    size: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSnapshot:
    """A snapshot inside a qcow2 image. `seconds` is its time, since 1970."""

    id: str
    name: str
    virtual_size: int
    vm_state_size: int
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInfo:
    """What a disk image is, read from its header. Whoever made the image chose the names in it.

    Attributes:
        format: QEMU's name: "raw", "qcow", "qcow2", "vmdk", "vpc" (VHD), "vhdx", "vdi"
        version: the format's own; 3 for what is called qcow3
        subformat: such as "streamOptimized", "fixed", "dynamic", "differencing"; of a qcow2 its compat level
        content: of raw: "mbr", "gpt", "luks", or what is plainly no disk: "gzip", "xz", "zstd", "bzip2",
            "tar", "zip", "html", "xml", "ovf", "pdf", "text", …
        virtual_size: of the disk, in bytes
        file_size: of the file, in bytes
        blocksize: of the disk's sectors, in bytes: 4096 where its partition table shows that, else 512; None:
            `probe` cannot tell, and `open_disk` looks through QEMU
        cluster_size: the unit of allocation, in bytes; 0: none
        encryption: "aes", "luks" or ""
        compression: of compressed clusters: "zlib", "zstd", "deflate" or ""
        dirty: not closed properly
        corrupt: marked so by QEMU
        truncated: the image refers to clusters behind the file's end; not told of one in use, whose end moves
        in_use: another program writes to it, as QEMU's locks tell; from `open_disk`: to a file of its chain
        references: everything outside the file that it refers to
    """

    format: str
    version: int
    subformat: str
    content: str
    virtual_size: int
    file_size: int
    blocksize: int | None
    cluster_size: int
    backing_file: str | None
    backing_format: str | None
    data_file: str | None
    data_file_raw: bool
    extents: Sequence[ImageExtent]
    encryption: str
    compression: str
    snapshots: Sequence[ImageSnapshot]
    extended_l2: bool
    lazy_refcounts: bool
    dirty: bool
    corrupt: bool
    truncated: bool
    in_use: bool
    references: Sequence[ImageReference]

    def to_dict(self) -> dict[str, Any]:
        """Return the values as dictionaries and tuples, for `json.dumps`. Keys are only ever added."""
        return asdict(self)


def probe(path: StrOrBytesPath, format: str | None = None) -> ImageInfo:
    """Read what the disk image is, and everything outside the file that it refers to.

    Reads the header and, of a qcow2, at most some 100 MB of tables; opens no other file and starts nothing.
    Regular files and block devices only: a FIFO cannot make it hang. Raises Error that says what is wrong
    with the image, and at which offset.

    format: QEMU's name; None: by what the file begins with. A guest can make its raw disk look like any other
        format: state "raw" where you know it
    """
    return image_info(_native.probe(path, format))


def image_info(found: Mapping[str, Any]) -> ImageInfo:
    """Make values of what the C++ side has found."""
    lists = {"extents": ImageExtent, "snapshots": ImageSnapshot, "references": ImageReference}
    values = {key: tuple(kind(**item) for item in found[key]) for key, kind in lists.items()}
    return ImageInfo(**{**found, **values})


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

#: `Opening` for C++: readonly, format, the rule of backing and its directory, protocols, snapshot, whether to
#: refuse a disk in use, blocksize.
NativeOpening = tuple[
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
class Opening:
    """How a disk is opened: the options of `Guestfs.open_disk` on their way to C++, as one value."""

    readonly: bool = True
    format: StrOrBytesPath | None = None
    backing: Backing = "refuse"
    protocols: Iterable[StrOrBytesPath] = ("file",)
    snapshot: StrOrBytesPath | None = None
    in_use: InUse = "allow"
    blocksize: int | None = None

    def native(self, op: str) -> NativeOpening:
        """Return it for C++; for nonsense raise ValueError or TypeError, which names the argument of op."""
        if not isinstance(self.readonly, bool):
            raise TypeError(f"{op}() argument 'readonly' must be bool, not {type(self.readonly).__name__}")
        if self.in_use not in ("allow", "refuse"):
            raise ValueError(f'{op}() argument \'in_use\' must be "allow" or "refuse", not {self.in_use!r}')
        if self.blocksize not in (None, 512, 4096):
            raise ValueError(f"{op}() argument 'blocksize' must be 512, 4096 or None, not {self.blocksize!r}")
        rule, directory = policy_of(op, self.backing)
        return (
            self.readonly,
            self.format,
            rule,
            directory,
            self.protocols if isinstance(self.protocols, (str, bytes)) else tuple(self.protocols),
            self.snapshot,
            self.in_use == "refuse",
            self.blocksize,
        )


def add_disk(
    handle: Guestfs, path: StrOrBytesPath, opening: Opening, unpack: UnpackLimits | None
) -> ImageInfo:
    """Do what `Guestfs.open_disk` says."""
    native = opening.native("open_disk")

    def add(file: StrOrBytesPath) -> ImageInfo:
        return image_info(handle.add_disk(file, native))

    may_be_packed = (
        opening.readonly and opening.format is None and opening.snapshot is None and unpack is not None
    )
    content = _content(path) if may_be_packed and "file" in opening.protocols else ""
    if unpack is None or content not in PACKED:
        return add(path)
    if (backend := handle.get_backend()) != "direct":
        reason = f"the backend {backend!r} cannot be given a file without a name"
        raise Error(
            "open_disk", f"{os.fsdecode(path)}: is packed, and {reason}: unpack it first", errno.ENOTSUP
        )
    folder = handle.get_tmpdir()
    with ExitStack() as stack:
        file: StrOrBytesPath = path
        try:
            for _layer in range(3):  # an archive of a compressed disk has two
                # The handle's call raises when the turn that this is a part of is to end.
                inner = stack.enter_context(unpacked(file, content, folder, unpack, handle.get_tmpdir))
                file = f"/proc/self/fd/{inner.fileno()}"
                content = _content(file)
                if content not in PACKED:
                    return add(file)
        except Error as error:  # a name that nobody knows
            message = error.message.replace(f"{os.fsdecode(file)}: ", "")
            raise Error(error.op, f"{os.fsdecode(path)} (unpacked): {message}", error.errno) from error
    raise Error("open_disk", f"{os.fsdecode(path)}: is packed more than three times", errno.EINVAL)


def _content(path: StrOrBytesPath) -> str:
    """Return what a file holds if it is raw; "" for what open_disk is to complain about."""
    try:
        return probe(path).content
    except Error:
        return ""
