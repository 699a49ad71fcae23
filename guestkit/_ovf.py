"""Find the disks of a guest in an archive: an OVA, a Vagrant box, or a disk in a tar.

An OVF descriptor names the guest's disks; other files, such as the ISO in a CD-ROM drive, are not disks.
Without a descriptor, the file names decide.
"""

from __future__ import annotations

import errno
import posixpath
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from guestkit._archive import Damaged, Member, members
from guestkit._decompress import Source
from guestkit._xml import parsed
from guestkit.errors import Error

_DISKS = (".vmdk", ".vhd", ".vhdx", ".vdi", ".qcow2", ".img", ".raw")
_LONGEST_DESCRIPTOR = 1 << 20  # bytes; real ones have some 20,000
_MOST_DISKS = 256
_CHUNK = re.compile(rb"\.[0-9]{9}")
_NUMBER = re.compile("[0-9]{1,18}")

_DISK_DRIVE = "17"  # rasd:ResourceType


@dataclass(frozen=True, slots=True)
class PackedDisk:
    """A disk in an archive, in one file or cut into several."""

    name: bytes
    parts: Sequence[Member]

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)

    def content(self, source: Source) -> Iterator[bytes | int]:
        """As `Member.content`."""
        for part in self.parts:
            yield from part.content(source)


def disks_in(op: str, source: Source, wanted: bytes | None) -> Sequence[PackedDisk]:
    """Return the disks of the guest in the archive, in the guest's order; at least one.

    Raises Damaged if it is not an archive, and Error if it is unclear which files are disks.

    wanted: the name of the only disk to take; None: all of them
    """
    files = {_plain(member.name): member for member in members(source)}
    if wanted is not None:
        return [_disk(op, files, wanted)]
    descriptors = [name for name in files if name.lower().endswith(b".ovf") and not _is_forked(name)]
    if len(descriptors) > 1:
        raise _unclear(op, f"several descriptors: {_list(descriptors)}")
    if descriptors and (named := _named_by(op, source, files[descriptors[0]])):
        folder = posixpath.dirname(descriptors[0])
        return [_disk(op, files, posixpath.join(folder, name), size) for name, size in named]
    names = [name for name in _without_chunks(files) if _is_disk(name) and not _is_forked(name)]
    if not names:
        holds = _list(list(files)) if files else "no files"
        raise Error(op, f"is an archive without a disk: it holds {holds}", errno.EINVAL)
    if len(names) > 1:
        raise _unclear(
            op,
            f"is an archive of several disks, {_list(names)}, without a descriptor (.ovf) that tells"
            " their order",
        )
    return [_disk(op, files, names[0])]


def _unclear(op: str, message: str, also: str = "") -> Error:
    """Return the error for an archive of which only a part can be meant."""
    hint = f"choose one with unpack=UnpackLimits(member=…){also}"
    return Error(op, message, errno.EINVAL, "disks_several", hint)


def several(op: str, disks: Sequence[PackedDisk]) -> Error:
    """Return the error for a guest of several disks where only one is possible."""
    names = _list([disk.name for disk in disks])
    also = ", or add them all with open_disks()" if op == "open_disk" else ""
    return _unclear(op, f"is a guest of {len(disks)} disks, {names}", also)


def _plain(name: bytes) -> bytes:
    """Normalize the name for comparisons: "./a" and "/a" become "a". It is never a path on this host."""
    return posixpath.normpath(b"/" + name).lstrip(b"/")


def shown(name: bytes) -> str:
    """Return the name in quotes, for messages."""
    text = name[:200].decode("utf-8", "surrogateescape")
    return repr(text + ("…" if len(name) > 200 else ""))


def _list(names: Sequence[bytes]) -> str:
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(shown(name) for name in names[:10]) + more


def _is_disk(name: bytes) -> bool:
    return name.lower().decode("latin-1").removesuffix(".gz").endswith(_DISKS)


def _is_forked(name: bytes) -> bool:
    """Return whether it is a resource fork, which macOS' tar adds beside a file."""
    return posixpath.basename(name).startswith(b"._")


def _without_chunks(files: Mapping[bytes, Member]) -> Sequence[bytes]:
    """Return the names; the chunks of a file count as one name, without their numbers."""
    return list(dict.fromkeys(name[:-10] if _CHUNK.fullmatch(name[-10:]) else name for name in files))


def _disk(op: str, files: Mapping[bytes, Member], given: bytes, size: int = 0) -> PackedDisk:
    """Return the disk of that name, which may be a relative URL.

    size: the minimum size of all its chunks together
    """
    name = _plain(given)
    numbers = _chunks_of(files, name)
    if name not in files and not numbers and b"%" in name:
        name = _plain(unquote_to_bytes(given))
        numbers = _chunks_of(files, name)
    if name in files:
        return PackedDisk(name, [files[name]])
    chunks = [name + b".%09d" % number for number in range(max(len(numbers), 1))]
    for number, chunk in enumerate(chunks):
        if number not in numbers:
            missing = shown(chunk if numbers else name)
            raise Error(op, f"the archive does not hold {missing}, but {_list(list(files))}", errno.ENOENT)
    parts = [files[chunk] for chunk in chunks]
    disk = PackedDisk(name, parts)
    if disk.size < size:
        raise Error(op, f"the archive does not hold the last chunks of {shown(name)}", errno.ENOENT)
    return disk


def _chunks_of(files: Mapping[bytes, Member], name: bytes) -> set[int]:
    return {int(other[-9:]) for other in files if other[:-10] == name and _CHUNK.fullmatch(other[-10:])}


# ---- the descriptor


def _named_by(op: str, source: Source, descriptor: Member) -> Sequence[tuple[bytes, int]]:
    """Return the names and sizes of the disk files of the guest that the descriptor describes.

    Empty if it names no disk files, or does so in an unknown way.
    """
    if descriptor.size > _LONGEST_DESCRIPTOR:
        raise Damaged(f"the descriptor {shown(descriptor.name)} is longer than {_LONGEST_DESCRIPTOR} bytes")
    text = b"".join(bytes(piece) if isinstance(piece, int) else piece for piece in descriptor.content(source))
    try:
        envelope = parsed(text, "the descriptor")
    except ValueError as error:
        raise Damaged(str(error)) from error
    guests = list(envelope.iter("VirtualSystem"))
    if len(guests) > 1:
        names = _list([guest.get("id", "").encode("utf-8", "surrogateescape") for guest in guests])
        raise _unclear(op, f"describes several virtual machines, {names}")
    files = {file.get("id", ""): file for file in envelope.iterfind("References/File")}
    disks = {disk.get("diskId", ""): disk for disk in envelope.iterfind("DiskSection/Disk")}
    named: dict[bytes, int] = {}
    for disk_id, file_id in _attached(envelope, disks):
        disk = disks.get(disk_id)
        if disk is not None and disk.get("parentRef"):
            raise Error(
                op,
                f"the disk {disk_id!r} holds changes of another one: export the guest without snapshots",
                errno.ENOTSUP,
            )
        reference = file_id if disk is None else disk.get("fileRef", "")
        if not reference:  # a new, empty disk: it has no file
            continue
        if (file := files.get(reference)) is None:
            raise Error(op, f"the descriptor names no file for the disk {disk_id or file_id!r}", errno.EINVAL)
        size = file.get("size", "")
        named[file.get("href", "").encode()] = int(size) if _NUMBER.fullmatch(size) else 0
    if len(named) > _MOST_DISKS:
        raise Error(op, f"describes a guest of more than {_MOST_DISKS} disks", errno.EINVAL)
    return list(named.items())


def _attached(envelope: ET.Element, disks: Mapping[str, ET.Element]) -> Sequence[tuple[str, str]]:
    """Return the guest's disks in its own order, each by its id or the id of its file.

    If no drives are described, that is the order in the list of disks.
    """
    items = [
        {child.tag: (child.text or "").strip() for child in item}
        for kind in ("Item", "StorageItem")
        for item in envelope.iter(kind)
    ]
    controllers = {item.get("InstanceID", ""): number for number, item in enumerate(items)}

    def place(drive: Mapping[str, str]) -> tuple[int, int]:
        parent, address = drive.get("Parent", ""), drive.get("AddressOnParent", "")
        return (
            controllers.get(parent, len(items)),
            int(address) if _NUMBER.fullmatch(address) else 0,
        )

    drives = sorted((item for item in items if item.get("ResourceType") == _DISK_DRIVE), key=place)
    found = []
    for drive in drives:
        kind, _, name = drive.get("HostResource", "").removeprefix("ovf:").lstrip("/").partition("/")
        if kind == "disk":
            found.append((name, ""))
        elif kind == "file":
            found.append(("", name))
    return found or [(disk_id, "") for disk_id in disks]
