"""The kernel that the appliance boots: unpacked, where QEMU can boot it so."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import struct
import subprocess
from collections.abc import Callable

import pytest

from guestkit import _kernel_image


def elf(note: bytes = struct.pack("<III", 4, 8, 18) + b"Xen\0" + bytes(8)) -> bytes:
    """Return an ELF file with one program header, of a note."""
    head = b"\x7fELF\x02\x01".ljust(32, b"\0") + struct.pack("<Q", 64)
    head = head.ljust(54, b"\0") + struct.pack("<HH", 56, 1)
    row = struct.pack("<IIQQQQ", 4, 0, 120, 0, 0, len(note)).ljust(56, b"\0")
    return head.ljust(64, b"\0") + row + note + b"code" * 500


def kernel(payload: bytes) -> bytes:
    """Return a kernel as x86 boots it, with a payload behind one sector of set-up and 16 bytes of code."""
    head = bytearray(1024)
    head[0x1F1] = 1
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<II", head, 0x248, 16, len(payload))
    return bytes(head) + bytes(16) + payload + b"what follows"


def with_size(packed: bytes) -> bytes:
    """Return what the kernel's Makefile writes with what does not tell the unpacked size itself."""
    return packed + struct.pack("<I", len(elf()))


def by(*command: str) -> Callable[[bytes], bytes]:
    """Return what packs with a program."""

    def pack(data: bytes) -> bytes:
        # A build runs the same program: without it, it unpacks no such kernel either.
        if shutil.which(command[0]) is None:
            pytest.skip(f"{command[0]} is not installed")
        return subprocess.run(command, input=data, capture_output=True, check=True).stdout

    return pack


@pytest.mark.parametrize(
    "pack",
    [
        pytest.param(lambda data: with_size(lzma.compress(data, check=lzma.CHECK_CRC32)), id="xz"),
        pytest.param(lambda data: with_size(lzma.compress(data, lzma.FORMAT_ALONE)), id="lzma"),
        pytest.param(lambda data: with_size(bz2.compress(data)), id="bzip2"),
        pytest.param(lambda data: with_size(by("zstd", "-c")(data)), id="zstd"),
        pytest.param(lambda data: with_size(by("lz4", "-l", "-c")(data)), id="lz4"),
    ],
)
def test_a_packed_kernel_is_unpacked(pack: Callable[[bytes], bytes]) -> None:
    assert _kernel_image.unpacked(kernel(pack(elf()))) == elf()


def test_a_kernel_packed_by_gzip_stayed_packed() -> None:
    """Regression: nothing follows what gzip has packed, so four bytes of its own were cut off."""
    assert _kernel_image.unpacked(kernel(gzip.compress(elf()))) == elf()


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(elf(), id="unpacked already"),
        pytest.param(kernel(with_size(lzma.compress(elf(b"no note")))), id="cannot be booted directly"),
        pytest.param(kernel(with_size(lzma.compress(elf()))[100:]), id="unknown format"),
        pytest.param(kernel(gzip.compress(elf())[:-50]), id="cut off"),
        pytest.param(kernel(gzip.compress(elf())[:10] + b"\xff" * 50), id="damaged"),
        pytest.param(kernel(b""), id="no payload"),
        pytest.param(b"MZ" + bytes(4096), id="of another processor"),
        pytest.param(b"", id="empty"),
    ],
)
def test_every_other_kernel_stays_as_it_is(image: bytes) -> None:
    assert _kernel_image.unpacked(image) == image
