"""Calls that read a guest do not leak either; they are slow, so a few of them must suffice."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from guestkit import Guestfs
from guestkit.inspection import ALL_PARTS, Mode
from tests.leaks import leaks


@pytest.fixture(scope="module")
def g(demo_guest: Path) -> Iterator[Guestfs]:
    with Guestfs() as g:
        g.open_disk(demo_guest)
        g.launch()
        yield g


@pytest.mark.full
@pytest.mark.parametrize("mode", ["auto", "libguestfs"])
def test_inspections_leak_nothing(g: Guestfs, mode: Mode) -> None:
    parts = [part for part in ALL_PARTS if part != "icon"]

    def inspect() -> None:
        found = g.inspect(parts=parts, mode=mode)
        assert found.operating_systems

    assert leaks(inspect, 5, each=20) == {}  # an inspection makes at least 20 calls


@pytest.mark.full
def test_reading_files_leaks_nothing(g: Guestfs, tmp_path: Path) -> None:
    g.mount_ro("/dev/sda1", "/")

    def read() -> None:
        assert len(g.read_files(["/etc/hostname", "/etc/fstab", "/nowhere"])) == 3
        assert g.read_small("/etc/hostname")

    def walk() -> None:
        assert len(g.walk("/etc")) > 3

    def extract() -> None:
        g.extract("/etc", tmp_path)
        shutil.rmtree(tmp_path / "etc")

    try:
        for call in (read, walk, extract):
            assert leaks(call, 200) == {}, call.__name__  # enough to outweigh the counting's own allocations
    finally:
        g.umount_all()
