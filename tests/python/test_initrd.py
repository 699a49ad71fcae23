"""The initrd that the lean appliance boots: supermin's, with fewer modules."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest

from guestkit import _initrd


def packed(folder: Path, files: dict[str, bytes]) -> bytes:
    """Return the files as cpio(1) packs them."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "init").chmod(0o755)
    return subprocess.run(
        ["cpio", "--quiet", "--create", "--format=newc"],
        cwd=folder, input="\n".join(files).encode(), capture_output=True, check=True,
    ).stdout  # fmt: skip


def unpacked(folder: Path, archive: bytes) -> dict[str, bytes]:
    """Return the files that cpio(1) finds in the archive."""
    folder.mkdir()
    subprocess.run(["cpio", "--quiet", "--extract"], cwd=folder, input=archive, check=True)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_only_the_modules_that_mount_the_root_are_kept(tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    modules = b"crc7.ko\nvirtio_blk.ko\nnbd.ko\next4.ko\n"
    files = {"init": b"#!", "modules": modules, "virtio_blk.ko": b"x" * 5, "nbd.ko": b"y", "crc7.ko": b""}
    slim = _initrd.slim(packed(tmp_path / "given", files))
    found = unpacked(tmp_path / "found", slim)
    assert found == {"init": b"#!", "modules": b"virtio_blk.ko\next4.ko\n", "virtio_blk.ko": b"x" * 5}
    assert stat.S_IMODE((tmp_path / "found" / "init").stat().st_mode) == 0o755
    assert _initrd.slim(slim) == slim


@pytest.mark.parametrize("archive", [b"", b"\x1f\x8b" + bytes(200), b"070701" + b"z" * 104])
def test_an_initrd_of_unknown_form_is_an_error(archive: bytes) -> None:
    with pytest.raises(ValueError, match="cpio archive|invalid literal"):
        _initrd.slim(archive)
