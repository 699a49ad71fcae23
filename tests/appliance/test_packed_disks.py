"""Disks that are compressed or in an archive, in real appliances; one guest spans two disks."""

from __future__ import annotations

import asyncio
import gzip
import lzma
import subprocess
from pathlib import Path

import pytest

import guestkit
from guestkit import Guestfs, aio
from guestkit.cli import main
from tests.images import trees
from tests.images.archives import Drive, ovf, tar

MIB = 1 << 20


def fill(disks: list[Path], folder: Path) -> None:
    """Put a guest on a volume that spans both disks."""
    tree = trees.debian(**{"etc/fstab": "/dev/guest/root / ext4 defaults 0 1\n", "etc/hostname": "two\n"})
    trees.write(tree, folder / "tree")
    archive = folder / "tree.tar"
    subprocess.run(["tar", "-C", folder / "tree", "-cf", archive, "."], check=True)
    with Guestfs() as g:
        for number, disk in enumerate(disks):
            g.disk_create(disk, "raw", (48 + 16 * number) * MIB)
            g.open_disk(disk, readonly=False, format="raw")
        g.launch()
        devices = g.list_devices()
        for device in devices:
            g.pvcreate(device)
        g.vgcreate("guest", devices)
        g.lvcreate("root", "guest", 84)  # more than either disk holds
        g.mke2fs("/dev/guest/root", fstype="ext4", blocksize=1024)
        g.mount("/dev/guest/root", "/")
        g.tar_in(archive, "/")
        g.shutdown()


def as_vmdk(disk: Path) -> bytes:
    new = disk.with_suffix(".vmdk")
    options = ["-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized"]
    subprocess.run(["qemu-img", "convert", *options, disk, new], check=True)
    return new.read_bytes()


@pytest.fixture(scope="module")
def appliance_of_two_disks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An OVA with an ISO, whose second disk comes first, and whose first disk is compressed and in chunks."""
    folder = tmp_path_factory.mktemp("ova")
    disks = [folder / "first", folder / "second"]
    fill(disks, folder)
    first, second = gzip.compress(as_vmdk(disks[0])), as_vmdk(disks[1])
    size = len(first) // 3 + 1
    chunks = {f"disk1.vmdk.{n:09d}": first[n * size : (n + 1) * size] for n in range(3)}
    attributes = f'ovf:compression="gzip" ovf:chunkSize="{size}" ovf:size="{len(first)}"'
    drives = [
        Drive("disk2.vmdk", 3, 1),
        Drive("tools.iso", 3, 2, type=15),
        Drive("disk1.vmdk", 3, 0, attributes=attributes),
    ]
    members = {"disk2.vmdk": second, **chunks, "tools.iso": bytes(MIB), "guest.ovf": ovf(drives)}
    path = folder / "guest.ova"
    path.write_bytes(tar(members))
    return path


def test_a_guest_of_two_disks_is_inspected(appliance_of_two_disks: Path) -> None:
    (report,) = guestkit.inspect_many([appliance_of_two_disks])
    assert report.error is None
    assert report.inspection is not None
    (system,) = report.inspection.operating_systems
    assert (system.distro, system.hostname, system.root) == ("debian", "two", "/dev/guest/root")
    assert [disk.virtual_size for disk in report.inspection.disks] == [48 * MIB, 64 * MIB]
    assert {disk.format for disk in report.inspection.disks} == {"vmdk"}
    (group,) = report.inspection.layers
    assert group.members == tuple(disk.device for disk in report.inspection.disks)


def test_its_files_are_read(appliance_of_two_disks: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["cat", str(appliance_of_two_disks), "/etc/hostname"]) == 0
    assert capfd.readouterr().out == "two\n"


def test_its_disks_are_converted_one_by_one(appliance_of_two_disks: Path, tmp_path: Path) -> None:
    new = [str(tmp_path / f"{number}.qcow2") for number in (1, 2)]
    for number, output in enumerate(new, start=1):
        words = ["convert", "--member", f"disk{number}.vmdk", str(appliance_of_two_disks), output]
        assert main(words) == 0
    (system,) = guestkit.inspect(new).operating_systems
    assert system.hostname == "two"


def test_a_compressed_disk_is_inspected(demo_guest: Path, tmp_path: Path) -> None:
    packed = tmp_path / "demo.img.xz"
    packed.write_bytes(lzma.compress(demo_guest.read_bytes(), preset=0))
    found = asyncio.run(aio.inspect(packed))
    assert [system.hostname for system in found.operating_systems] == ["guestkit-demo"]
