"""Images that name a file of the host, in every way that a format has for it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

Make = Callable[[Path, Path], Path]


def qemu_img(*words: str | bytes | Path, cwd: Path | None = None) -> None:
    """Run qemu-img; its output is of no interest."""
    subprocess.run(["qemu-img", *words], check=True, cwd=cwd, stdout=subprocess.DEVNULL)


def overlay(path: Path, backing: str | bytes | Path, format: str | None = "raw") -> Path:
    """Make a qcow2 that names this backing file, which need not exist."""
    stated = ["-F", "raw" if format is None else format]
    qemu_img("create", "-q", "-u", "-f", "qcow2", path, "1M")
    qemu_img("rebase", "-u", "-f", "qcow2", "-b", os.fspath(backing), *stated, path)
    if format is None:  # like older tools: turn the header extension into an unknown one
        path.write_bytes(path.read_bytes().replace(b"\xe2\x79\x2a\xca", b"none", 1))
    return path


def with_data_file(path: Path, secret: Path) -> Path:
    keep = secret.read_bytes()
    qemu_img("create", "-q", "-f", "qcow2", "-o", f"data_file={secret},data_file_raw=on", path, "1M")
    secret.write_bytes(keep)
    return path


def with_extent(path: Path, secret: Path) -> Path:
    return vmdk_of(path, "monolithicFlat", f'RW 2048 FLAT "{secret}" 0')


def vmdk_of(path: Path, kind: str, *extents: str) -> Path:
    """Write the description of a VMDK that lies in other files."""
    head = ["# Disk DescriptorFile", "version=1", "CID=1234abcd", "parentCID=ffffffff"]
    path.write_text("\n".join([*head, f'createType="{kind}"', *extents, ""]))
    return path


def with_parent(path: Path, secret: Path) -> Path:
    parent = path.with_name("parent.vmdk")
    qemu_img("convert", "-f", "raw", "-O", "vmdk", secret, parent)
    qemu_img("create", "-q", "-f", "vmdk", "-b", parent, "-F", "vmdk", path)
    return path


def as_qcow(path: Path, secret: Path) -> Path:
    qemu_img("create", "-q", "-f", "qcow", "-b", secret, "-F", "raw", path)
    return path


def as_json(path: Path, secret: Path) -> Path:
    return overlay(path, f'json:{{"driver":"raw","file":{{"driver":"file","filename":"{secret}"}}}}')


def by_link(path: Path, secret: Path) -> Path:
    path.with_name("link").symlink_to(secret)
    return overlay(path, "link")


def as_a_protocol(path: Path, secret: Path) -> Path:
    return overlay(path, f"file:{secret}", None)


HOSTILE: list[Make] = [
    overlay,
    with_data_file,
    with_extent,
    with_parent,
    as_qcow,
    as_json,
    by_link,
    as_a_protocol,
]


def format_of(make: Make) -> str:
    """Return QEMU's name of the format that is made."""
    return "vmdk" if make in (with_extent, with_parent) else "qcow" if make is as_qcow else "qcow2"
