"""The kernel of the appliance, unpacked beforehand: an emulated processor would take seconds for it."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import struct
import subprocess
import zlib

__all__ = ["unpacked"]


def unpacked(image: bytes) -> bytes:
    """Return what is packed in an x86 kernel if QEMU can boot that directly (PVH), else the kernel as it is.

    image: the file in /boot
    """
    if image[0x202:0x206] != b"HdrS":
        return image
    begin = (image[0x1F1] + 1) * 512 + struct.unpack_from("<I", image, 0x248)[0]
    found = _decompressed(image[begin : begin + struct.unpack_from("<I", image, 0x24C)[0]])
    return found if _boots_directly(found) else image


def _decompressed(payload: bytes) -> bytes:
    """Unpack the payload, which ends with its size in four bytes; b"" for an unknown format."""
    try:
        if payload.startswith(b"\xfd7zXZ"):
            return lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(payload)
        if payload.startswith(b"\x5d\0\0"):
            return lzma.LZMADecompressor(lzma.FORMAT_ALONE).decompress(payload)
        if payload.startswith(b"BZh"):
            return bz2.BZ2Decompressor().decompress(payload)
        if payload.startswith(b"\x1f\x8b"):
            return gzip.decompress(payload)  # the size is gzip's own
        for magic, tool in ((b"\x28\xb5\x2f\xfd", "zstd"), (b"\x02\x21\x4c\x18", "lz4")):
            if payload.startswith(magic) and shutil.which(tool):
                command = [tool, "-dc"]
                return subprocess.run(command, input=payload[:-4], capture_output=True, check=True).stdout
    except (OSError, EOFError, zlib.error, lzma.LZMAError, subprocess.CalledProcessError):
        pass  # a packed kernel boots too, only more slowly
    return b""


def _boots_directly(image: bytes) -> bool:
    """Return whether the image is an ELF file with Xen's PVH entry point, the note that QEMU looks for."""
    if image[:6] != b"\x7fELF\x02\x01":
        return False
    offset, size, count = (
        struct.unpack_from("<Q", image, 32)[0], *struct.unpack_from("<HH", image, 54),
    )  # fmt: skip
    for number in range(count):
        kind, _, begin, _, _, length = struct.unpack_from("<IIQQQQ", image, offset + number * size)
        if kind == 4 and struct.pack("<I", 18) + b"Xen\0" in image[begin : begin + length]:
            return True
    return False
