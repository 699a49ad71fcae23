"""The program in docs/evidence.md runs unchanged, and what the page says of journals is true."""

from __future__ import annotations

from pathlib import Path

import pytest

from guestkit import Guestfs
from tests.docs.snippets import block, run_python


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A directory with a disk whose filesystem was copied while it was mounted."""
    disk = tmp_path / "evidence.img"
    with disk.open("wb") as file:
        file.truncate(64 << 20)
    with Guestfs() as g:
        g.add_drive(disk, format="raw")
        g.launch()
        g.part_init("/dev/sda", "mbr")
        for first, last in ((2048, 63487), (63488, 124927)):
            g.part_add("/dev/sda", "p", first, last)
        g.mkfs("ext4", "/dev/sda2")
        g.mount("/dev/sda2", "/")
        g.write("/letter", b"yours\n")
        g.sync()
        g.copy_device_to_device("/dev/sda2", "/dev/sda1")
        g.shutdown()
    return tmp_path


def test_the_program(here: Path) -> None:
    lines = run_python(block("evidence.md", "python"), here).splitlines()
    assert "letter" in lines


def test_a_journal_is_replayed_in_the_overlay_unless_it_is_not_loaded(here: Path) -> None:
    """Regression: docs/images.md said that it is not replayed."""
    content = (here / "evidence.img").read_bytes()
    for options, changed in (("ro,noload", False), ("ro", True)):
        with Guestfs() as g:
            g.open_disk(here / "evidence.img", format="raw")
            g.launch()
            before = g.checksum_device("sha256", "/dev/sda1")
            g.mount_options(options, "/dev/sda1", "/")
            g.umount_all()
            assert (g.checksum_device("sha256", "/dev/sda1") != before) == changed
    assert (here / "evidence.img").read_bytes() == content
