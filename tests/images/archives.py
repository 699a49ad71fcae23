"""Archives of disks: ordinary ones, and those of attackers."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_ENVELOPE = """<?xml version="1.0"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
  xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData">
<References>
{files}
</References>
<DiskSection><Info>disks</Info>
{disks}
</DiskSection>
<VirtualSystem ovf:id="web"><VirtualHardwareSection>
<Item><rasd:InstanceID>3</rasd:InstanceID><rasd:ResourceType>20</rasd:ResourceType></Item>
<Item><rasd:InstanceID>4</rasd:InstanceID><rasd:ResourceType>6</rasd:ResourceType></Item>
{drives}
</VirtualHardwareSection></VirtualSystem></Envelope>
"""


@dataclass(frozen=True)
class Drive:
    """A drive of a virtual machine, on controller 3 or 4. Without a `file` it is a new, empty disk."""

    file: str
    parent: int = 3
    address: int = 0
    type: int = 17  # 15: a CD-ROM drive
    attributes: str = ""  # of the File element


def ovf(drives: Sequence[Drive], listed: Sequence[str] = ()) -> bytes:
    """Make a descriptor that lists its files and disks in the given order, or else by name."""
    order = listed or sorted(drive.file for drive in drives if drive.file)
    by_file = {drive.file: drive for drive in drives}
    files = [f'<File ovf:id="f-{name}" ovf:href="{name}" {by_file[name].attributes}/>' for name in order]
    disks = [
        f'<Disk ovf:diskId="d-{name}" ovf:capacity="1" ovf:fileRef="f-{name}"/>'
        for name in order
        if by_file[name].type == 17
    ]
    if "" in by_file:
        disks.append('<Disk ovf:diskId="d-" ovf:capacity="1"/>')
    items = [
        f"<Item><rasd:AddressOnParent>{drive.address}</rasd:AddressOnParent>"
        f"<rasd:HostResource>{'/disk/d-' if drive.type == 17 else 'ovf:/file/f-'}{drive.file}"
        f"</rasd:HostResource><rasd:InstanceID>{10 + number}</rasd:InstanceID>"
        f"<rasd:Parent>{drive.parent}</rasd:Parent><rasd:ResourceType>{drive.type}</rasd:ResourceType></Item>"
        for number, drive in enumerate(drives)
    ]
    text = _ENVELOPE.format(files="\n".join(files), disks="\n".join(disks), drives="\n".join(items))
    return text.encode()


def tar(members: Mapping[str, bytes]) -> bytes:
    """Make an archive of these files, in this order."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def header(name: bytes, size: int, kind: bytes = b"0", more: Mapping[int, bytes] | None = None) -> bytes:
    """Make a header of any type, without content.

    more: other bytes of the header, by offset
    """
    block = bytearray(512)
    for place, text in {
        0: name,
        100: b"0000644\0",
        124: b"%011o\0" % size,
        156: kind,
        257: b"ustar  \0" if kind == b"S" else b"ustar\00000",
        **(more or {}),
    }.items():
        block[place : place + len(text)] = text
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(content: bytes) -> bytes:
    """Pad the content to whole blocks."""
    return content + bytes(-len(content) % 512)


def _record(key: str, value: str) -> bytes:
    """Make a line of an extended header."""
    rest = f" {key}={value}\n".encode()
    size = len(rest)
    while len(str(size)) + len(rest) != size:
        size = len(str(size)) + len(rest)
    return str(size).encode() + rest


def extended(**values: str) -> bytes:
    """Make an extended header, whose values describe the next file; a _ in a key stands for a dot."""
    records = b"".join(_record(key.replace("_", "."), value) for key, value in values.items())
    return header(b"x", len(records), b"x") + padded(records)
