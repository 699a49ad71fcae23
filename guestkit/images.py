"""Disk images, known before anybody opens them.

    info = probe("disk.qcow2")
    print(info.format, info.virtual_size, info.references)

guestkit reads the headers itself: QEMU would guess the format and follow whatever other files the image
names.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from guestkit import _native
from guestkit.errors import Error
from guestkit.generated.values import ImageExtent, ImageInfo, ImageReference, ImageSnapshot
from guestkit.unpack import PACKED, UnpackLimits, unpacked

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath

    from guestkit.handle import Guestfs

__all__ = [
    "Backing",
    "ImageExtent",
    "ImageInfo",
    "ImageReference",
    "ImageSnapshot",
    "Under",
    "add_disk",
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


def add_disk(
    handle: Guestfs,
    path: StrOrBytesPath,
    *,
    readonly: bool,
    format: StrOrBytesPath | None,
    backing: Backing,
    protocols: Iterable[StrOrBytesPath],
    snapshot: StrOrBytesPath | None,
    unpack: UnpackLimits | None,
) -> ImageInfo:
    """Do what `Guestfs.open_disk` says."""
    if not isinstance(readonly, bool):
        raise TypeError(f"open_disk() argument 'readonly' must be bool, not {type(readonly).__name__}")
    rule, directory = policy_of("open_disk", backing)
    if not isinstance(protocols, (str, bytes)):
        protocols = tuple(protocols)

    def add(file: StrOrBytesPath) -> ImageInfo:
        found = handle.add_disk(file, readonly, format, rule, directory, protocols, snapshot)
        return ImageInfo.from_native(found)

    may_be_packed = readonly and format is None and snapshot is None and unpack is not None
    content = _content(path) if may_be_packed and "file" in protocols else ""
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
