"""Disks that open_disk() added, in a real appliance."""

from __future__ import annotations

import os
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from guestkit import Error, Guestfs, LaunchError, inspect, probe, under
from guestkit.cli import main
from tests.images.writer import written_to

FORMATS = {
    "raw": ["-O", "raw"],
    "qcow": ["-O", "qcow"],
    "qcow2": ["-O", "qcow2", "-c"],
    "vmdk": ["-O", "vmdk", "-o", "subformat=streamOptimized"],
    "split.vmdk": ["-O", "vmdk", "-o", "subformat=twoGbMaxExtentSparse"],
    "vpc": ["-O", "vpc", "-o", "force_size=on"],
    "vhdx": ["-O", "vhdx"],
    "vdi": ["-O", "vdi"],
}


def qemu_img(*words: str | Path) -> None:
    subprocess.run(["qemu-img", *words], check=True, stdout=subprocess.DEVNULL)


def test_every_format_is_opened_and_read(demo_guest: Path, tmp_path: Path) -> None:
    """In one appliance, with a chain and a snapshot; the files are replaced between open_disk and launch."""
    with Guestfs() as g:
        for name, words in FORMATS.items():
            image = tmp_path / name
            qemu_img("convert", "-f", "raw", *words, demo_guest, image)
            info = g.open_disk(image, format=words[1], backing=under(tmp_path))
            assert info.format == words[1]
        qemu_img("create", "-q", "-f", "qcow2", "-b", tmp_path / "qcow2", "-F", "qcow2", tmp_path / "top")
        g.open_disk(tmp_path / "top", format="qcow2", backing="allow")
        qemu_img("snapshot", "-c", "before", tmp_path / "top")
        g.open_disk(tmp_path / "top", format="qcow2", backing="allow", snapshot="before")
        for name in FORMATS:
            (tmp_path / name).rename(tmp_path / f"{name}.moved")
            (tmp_path / name).write_bytes(os.urandom(4096))
        g.launch()

        disks = g.list_devices()
        assert len(disks) == len(FORMATS) + 2
        size = demo_guest.stat().st_size
        for disk in disks:
            assert g.blockdev_getsize64(disk) == size
        for disk in disks:
            g.mount_ro(f"{disk}1", "/")
            assert g.read_file("/etc/hostname") == b"guestkit-demo\n"
            g.umount_all()
        # File descriptors for the launch are closed, and the guest's writes do not reach the image.
        held = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
        assert not [name for name in held if str(tmp_path) in name]
        g.mount(f"{disks[0]}1", "/")
        g.write("/etc/hostname", b"changed\n")
        g.shutdown()
    qemu_img("compare", "-f", "raw", "-F", "raw", demo_guest, tmp_path / "raw.moved")


def test_a_disk_that_is_written_to_and_one_that_is_exchanged(tmp_path: Path) -> None:
    disk, other = tmp_path / "a,b:c\n.qcow2", tmp_path / "other"
    with Guestfs() as g:
        for path in (disk, other):
            g.disk_create(path, "qcow2", 1 << 20)
        g.open_disk(disk, readonly=False, format="qcow2")
        g.open_disk(other, readonly=False, format="qcow2")
        other.rename(tmp_path / "moved")  # found by its identity, not by its name
        other.write_bytes(b"not a disk")
        g.launch()
        for device in g.list_devices():
            g.pwrite_device(device, b"written", 0)
        g.shutdown()
        for path in (disk, tmp_path / "moved"):
            g.open_disk(path)
        g.launch()
        assert [g.pread_device(device, 7, 0) for device in g.list_devices()] == [b"written"] * 2

    with Guestfs() as g:
        g.open_disk(tmp_path / "moved", readonly=False, format="qcow2")
        (tmp_path / "moved").unlink()
        with pytest.raises(Error):
            g.launch()


def test_disks_in_use_are_inspected(demo_guest: Path, tmp_path: Path) -> None:
    """Regression: QEMU refused to start while others wrote to the disk, to its base or to an extent."""
    kinds = {
        "raw": ["-O", "raw"],
        "qcow2": ["-O", "qcow2"],
        "sparse.vmdk": ["-O", "vmdk"],
        "flat.vmdk": ["-O", "vmdk", "-o", "subformat=twoGbMaxExtentFlat"],
        "base": ["-O", "qcow2"],
    }
    with ExitStack() as writers:
        for name, words in kinds.items():
            qemu_img("convert", "-f", "raw", *words, demo_guest, tmp_path / name)
            writers.enter_context(written_to(tmp_path / name, words[1]))
        qemu_img(
            "create",
            "-q",
            "-u",
            "-f",
            "qcow2",
            "-b",
            tmp_path / "base",
            "-F",
            "qcow2",
            tmp_path / "top",
            "128M",
        )
        with Guestfs() as g:
            for name, words in (*kinds.items(), ("top", ["-O", "qcow2"])):
                assert g.open_disk(tmp_path / name, format=words[1], backing="allow").in_use
            g.launch()
            assert len(g.list_devices()) == len(kinds) + 1
            for disk in g.list_devices():
                g.mount_ro(f"{disk}1", "/")
                assert g.read_file("/etc/hostname") == b"guestkit-demo\n"
                g.umount_all()
        (system,) = inspect(tmp_path / "qcow2").operating_systems
        assert system.hostname == "guestkit-demo"
        with Guestfs() as g:  # libguestfs does not lock the disk, but its backing file
            g.add_drive(tmp_path / "top", readonly=True, format="qcow2")
            with pytest.raises(LaunchError, match="lock") as caught:
                g.launch()
            assert caught.value.cause == "disk_locked"
            assert "read the disk by open_disk" in caught.value.hint


def test_a_disk_with_sectors_of_4096_bytes(
    demo_guest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Regression: `info` reported gpt, but `inspect` found only one unknown device."""
    disk = tmp_path / "disk.img"
    with Guestfs() as g:
        g.disk_create(disk, "raw", 128 << 20)
        g.open_disk(demo_guest)
        g.open_disk(disk, readonly=False, format="raw", blocksize=4096)
        g.launch()
        assert [g.blockdev_getss(device) for device in g.list_devices()] == [512, 4096]
        for device, mountpoint in (("/dev/sda1", "/"), ("/dev/sda2", "/var")):
            g.mount_ro(device, mountpoint)
        g.tar_out("/", tmp_path / "tree.tar")
        g.umount_all()
        g.part_disk("/dev/sdb", "gpt")
        g.mke2fs("/dev/sdb1", fstype="ext4", label="demo-root")
        g.mount("/dev/sdb1", "/")
        g.tar_in(tmp_path / "tree.tar", "/")
        g.write("/etc/fstab", b"LABEL=demo-root / ext4 defaults 0 1\n")
        g.shutdown()
    assert (probe(disk).content, probe(disk).blocksize) == ("gpt", 4096)
    assert main(["info", str(disk)]) == 0
    assert "sectors         4096 bytes" in capsys.readouterr().out

    qemu_img("convert", "-f", "raw", "-O", "qcow2", "-c", disk, tmp_path / "disk.qcow2")
    for image in (disk, tmp_path / "disk.qcow2"):
        found = inspect(image)
        assert [(one.device, one.label) for one in found.filesystems] == [("/dev/sda1", "demo-root")]
        assert [system.hostname for system in found.operating_systems] == ["guestkit-demo"]
    # A stated size is used even if it is wrong: then no partition table is found.
    assert not inspect(disk, blocksize=512).operating_systems
    assert main(["ls", "--blocksize", "4096", str(disk), "/etc/hostname"]) == 0
    assert capsys.readouterr().out == "/etc/hostname\n"
