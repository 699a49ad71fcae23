"""The initrd of supermin, a cpio archive, without the modules that the appliance does not need."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["slim"]

#: The modules for mounting the root disk and talking to the host; udev and modprobe load the rest from there.
MODULES = (
    "crc", "scsi_common", "scsi_mod", "sd_mod", "virtio_ring", "virtio.", "virtio_blk", "virtio_console",
    "virtio_pci", "virtio_scsi", "virtio-rng", "ext2", "ext4", "jbd2", "mbcache", "t10",
)  # fmt: skip
NOT_NEEDED = ("crc-itu-t", "crc7")


def slim(archive: bytes) -> bytes:
    """Return supermin's initrd without the modules that are not needed to mount the root.

    Raises ValueError if it is not a cpio archive of the form that supermin writes.
    """
    kept = bytearray()
    for name, mode, data in _entries(archive):
        content = data
        if name.endswith(".ko") and not _needed(name):
            continue
        if name == "modules":
            content = b"".join(row for row in data.splitlines(keepends=True) if _needed(row.decode()))
        kept += _entry(name, mode, content)
    return bytes(kept + _entry("TRAILER!!!", 0, b""))


def _needed(module: str) -> bool:
    return module.startswith(MODULES) and not module.startswith(NOT_NEEDED)


def _entries(archive: bytes) -> Iterator[tuple[str, int, bytes]]:
    """Yield the name, the mode and the content of each file."""
    at = 0
    while True:
        if archive[at : at + 6] not in (b"070701", b"070702"):
            raise ValueError("it is not a cpio archive that guestkit knows")
        fields = [int(archive[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        name = archive[at + 110 : at + 110 + fields[11] - 1].decode()
        begin = at + 110 + fields[11] + 3 & ~3
        if name == "TRAILER!!!":
            return
        yield name, fields[1], archive[begin : begin + fields[6]]
        at = begin + fields[6] + 3 & ~3


def _entry(name: str, mode: int, data: bytes) -> bytes:
    raw = name.encode() + b"\0"
    fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(raw), 0)
    head = b"070701" + b"".join(b"%08X" % value for value in fields) + raw
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)
