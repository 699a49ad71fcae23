"""Make corpus/ anew: what is no hole in the first 4 MiB of small images by qemu-img."""

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
    """Return the image as probe.cpp reads it: only what is not zero, and the end."""
    pieces = bytearray(b"\0")  # no format stated
    image = image[:LARGEST]
    starts = [at for at in range(0, len(image), BLOCK) if image[at : at + BLOCK].strip(b"\0")][:MOST]
    for at in starts:
        block = image[at : at + BLOCK].rstrip(b"\0")
        pieces += struct.pack("<IH", at, len(block)) + block
    return bytes(pieces + struct.pack("<IH", len(image) - 1, 1) + image[-1:])


def main() -> None:
    """Write the corpus anew."""
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


if __name__ == "__main__":
    main()
