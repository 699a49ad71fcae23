"""Rebuild corpus/ from the non-zero bytes in the first 4 MiB of small images made by qemu-img."""

from __future__ import annotations

import struct
import subprocess
import tempfile
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
IMAGES = {
    "qcow": ("qcow", ""),
    "qcow2-v2": ("qcow2", "compat=0.10,backing_file=base,backing_fmt=raw"),
    "qcow2-v3": ("qcow2", "cluster_size=4k,extended_l2=off,lazy_refcounts=on"),
    "qcow2-data": ("qcow2", "data_file=data,data_file_raw=on"),
    "qcow2-zstd": ("qcow2", "compression_type=zstd,extended_l2=on"),
    "vmdk-sparse": ("vmdk", "subformat=monolithicSparse"),
    "vmdk-flat": ("vmdk", "subformat=monolithicFlat"),
    "vmdk-split": ("vmdk", "subformat=twoGbMaxExtentSparse"),
    "vmdk-stream": ("vmdk", "subformat=streamOptimized"),
    "vpc-fixed": ("vpc", "subformat=fixed"),
    "vpc-dynamic": ("vpc", "subformat=dynamic"),
    "vhdx": ("vhdx", "subformat=dynamic"),
    "vdi": ("vdi", ""),
}
BLOCK, LARGEST, MOST = 128, 4 << 20, 24


def pack(image: bytes) -> bytes:
    """Return the image in the form that probe.cpp reads: its non-zero blocks, and its last byte."""
    pieces = bytearray(b"\0")  # states no format
    image = image[:LARGEST]
    starts = [at for at in range(0, len(image), BLOCK) if image[at : at + BLOCK].strip(b"\0")][:MOST]
    for at in starts:
        block = image[at : at + BLOCK].rstrip(b"\0")
        pieces += struct.pack("<IH", at, len(block)) + block
    return bytes(pieces + struct.pack("<IH", len(image) - 1, 1) + image[-1:])


def main() -> None:
    """Rebuild the corpus."""
    CORPUS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "base").write_bytes(bytes(1 << 20))
        for name, (form, options) in IMAGES.items():
            words = ["-o", options] if options else []
            subprocess.run(
                ["qemu-img", "create", "-q", "-f", form, *words, name, "1M"], cwd=folder, check=True
            )
            if name == "qcow2-v3":
                subprocess.run(["qemu-img", "snapshot", "-c", "one", name], cwd=folder, check=True)
            (CORPUS / name).write_bytes(pack((Path(folder) / name).read_bytes()))
    (CORPUS / "vmdk-parent").write_bytes(pack(b"# Disk DescriptorFile\ncreateType=\"vmfs\"\n"
                                              b'parentFileNameHint="up"\nRW 9 VMFS "a" 0\n'))  # fmt: skip

    entry = b"\0\0\0\0\x83\0\0\0" + struct.pack("<II", 16, 64)
    mbr = bytes(446) + entry.ljust(64, b"\0") + b"\x55\xaa"
    gpt = b"EFI PART" + bytes(16) + struct.pack("<QQ", 1, 200)
    ext = bytes(1080) + b"\x53\xef" + bytes(18) + b"\1"
    disks = {
        "raw-gpt": mbr + gpt,
        "raw-gpt-4096": mbr.ljust(4096, b"\0") + gpt,
        "raw-mbr-4096": mbr.ljust(16 * 4096, b"\0") + ext,
        "raw-html": b"<!DOCTYPE html>\n<title>404</title>\n",
        "raw-pdf": b"%PDF-1.7\n",
    }
    for name, start in disks.items():
        (CORPUS / name).write_bytes(pack(start.ljust(1 << 20, b"\0")))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "raw").write_bytes((mbr + ext).ljust(1 << 20, b"\0"))
        words = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=4k", "raw", "qcow2"]
        subprocess.run(words, cwd=folder, check=True)
        (CORPUS / "qcow2-mbr").write_bytes(pack((Path(folder) / "qcow2").read_bytes()))


if __name__ == "__main__":
    main()
