"""A restored appliance that inspects finds storage without udev and LVM's programs, as they would."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from guestkit import Guestfs, open_guest

MEGABYTE = 1 << 20
ASLEEP = "/run/udev.asleep"

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="not tried on other processors")

#: A case of the long form.
full = partial(pytest.param, marks=pytest.mark.full)


@contextmanager
def launched(*disks: Path, readonly: bool = False) -> Iterator[Guestfs]:
    with Guestfs(appliance="inspection") as g:
        for path in disks:
            if not path.exists():
                with path.open("wb") as file:
                    file.truncate(64 * MEGABYTE)
            g.add_drive(path, format="raw", readonly=readonly)
        g.launch()
        info = g.launch_info()
        assert info is not None
        assert info.mode == "warm", info.reason
        yield g


def shell(g: Guestfs, command: str) -> str:
    return g.debug("sh", [command]).strip()


def is_asleep(g: Guestfs) -> bool:
    return shell(g, f"test -e {ASLEEP} && echo yes || echo no") == "yes"


def names(count: int, folder: Path) -> list[Path]:
    return [folder / f"{number}.img" for number in range(count)]


def kernel_s_name(disk: int, partition: str = "") -> str:
    """Return what a shell finds the disk by, for the kernel may call the first one sdb."""
    return f"$(readlink -f /dev/disk/by-path/*-scsi-0:0:{disk}:0{partition})"


ONE, TWO, THREE = kernel_s_name(0, "-part1"), kernel_s_name(0, "-part2"), kernel_s_name(1)
VOLUMES = (
    f"vgcreate --physicalextentsize 1m a-b+c.d_e {ONE} {TWO} {THREE}",
    f"lvcreate --name one-two --extents 7 a-b+c.d_e {TWO}",
    f"lvcreate --name striped --extents 8 --stripes 2 --stripesize 16k a-b+c.d_e {ONE} {THREE}",
    f"lvextend --extents +3 a-b+c.d_e/one-two {THREE}",
    "lvcreate --name readonly --permission r --extents 2 --zero n a-b+c.d_e",
    f"vgcreate second {kernel_s_name(2)}",
    "lvcreate --name one --extents 1 second",
)


def test_ordinary_volumes_are_mapped_as_lvm_maps_them(tmp_path: Path) -> None:
    disks = names(3, tmp_path)
    with launched(*disks) as g:
        g.part_init("/dev/sda", "gpt")
        g.part_add("/dev/sda", "p", 2048, 40959)
        g.part_add("/dev/sda", "p", 40960, -2048)
        g.shutdown()
    # In a machine of its own: udev reads a table again after parted, and removes the partitions meanwhile.
    with launched(*disks) as g:
        for command in VOLUMES:
            shell(g, f"lvm {command}")
        g.mkfs("ext4", "/dev/second/one", label="inside")
        g.shutdown()
    with launched(*disks) as g:
        assert is_asleep(g), "LVM's programs were asked"
        look = ("dmsetup table | sort; dmsetup info -c --noheadings -o name,uuid,attr | sort; "
                "blkid -p /dev/mapper/* || true")  # fmt: skip
        ours = shell(g, look)
        links = shell(g, "cd /dev; readlink -f mapper/* a-b+c.d_e/* second/*; ls mapper a-b+c.d_e second")
        assert ours.count("linear") == 4
        assert ours.count("striped 2 32") == 1
        assert g.lvs() == ["/dev/a-b+c.d_e/one-two", "/dev/a-b+c.d_e/readonly", "/dev/a-b+c.d_e/striped",
                           "/dev/second/one"]  # fmt: skip
        assert g.vfs_label("/dev/second/one") == "inside"
        shell(g, "lvm vgchange --activate n")
        assert shell(g, "dmsetup table") == "No devices found"
        shell(g, "lvm vgchange --activate y && udevadm settle")
        assert not is_asleep(g)
        assert shell(g, look) == ours
        assert shell(g, "cd /dev; ls mapper a-b+c.d_e second") in links


@pytest.mark.parametrize(
    "command",
    [
        full("lvcreate --type mirror --mirrors 1 --name odd --extents 4 --nosync vg"),
        "lvcreate --type thin-pool --name odd --extents 6 vg",
        full("lvcreate --name base --extents 4 vg && lvm lvcreate --snapshot --name odd --extents 2 vg/base"),
        full("lvcreate --name odd --extents 4 --setactivationskip y vg"),
        full("lvcreate --activate n --zero n --name odd --extents 2 vg && lvm vgexport vg"),
    ],
)
def test_unusual_volumes_are_left_to_lvm(command: str, tmp_path: Path) -> None:
    disks = names(2, tmp_path)
    with launched(*disks) as g:
        g.vgcreate("vg", ["/dev/sda", "/dev/sdb"])
        shell(g, "lvm lvcreate --name plain --extents 1 vg")
        shell(g, f"lvm vgchange --activate n vg; lvm {command} || true")
        stock = shell(g, "lvm lvs -a --noheadings -o name,segtype")
        g.shutdown()
    assert stock.count("\n") >= 1 or "export" in command, "the guest lacks what is to be tried"
    with launched(*disks) as g:
        assert not is_asleep(g)
        mapped = shell(g, "dmsetup table | sort")
        assert ("plain" in mapped) is ("export" not in command)
        shell(g, "lvm vgchange --activate n; lvm vgchange --activate ay")
        assert shell(g, "dmsetup table | sort") == mapped


def test_udev_sleeps_until_a_block_device_appears(tmp_path: Path) -> None:
    disks = names(2, tmp_path)
    with launched(*disks) as g:
        g.part_disk("/dev/sda", "gpt")
        g.mkfs("ext4", "/dev/sda1", label="named")
        g.mkswap("/dev/sdb", label="swapped", uuid="a7f5d4e2-8f0c-4a53-8a3d-0d6f3e0c4b11")
        uuid = g.vfs_uuid("/dev/sda1")
        g.shutdown()
    with launched(*disks) as g:
        by_path = shell(g, "ls /dev/disk/by-path")
        assert is_asleep(g)
        assert by_path.count("scsi") == 3
        # What looks for a name reads the disks if it finds no link.
        assert (g.findfs_label("named"), g.findfs_uuid(uuid)) == ("/dev/sda1", "/dev/sda1")
        g.swapon_label("swapped")
        g.swapoff_label("swapped")
        g.mount("/dev/sda1", "/")
        g.write("/file", b"x")
        g.umount_all()
        assert is_asleep(g), "it was woken for nothing"
        g.part_disk("/dev/sdb", "mbr")
        assert not is_asleep(g)
        assert shell(g, "ls /dev/disk/by-path").splitlines()[:2] == by_path.splitlines()[:2]
        assert shell(g, "ls /dev/disk/by-path").count("scsi") == 4
        assert uuid in shell(g, "ls /dev/disk/by-uuid")
        assert shell(g, "ls /run/udev/data").count("b8:") == 4


@pytest.mark.full
def test_what_is_opened_later_wakes_udev(tmp_path: Path) -> None:
    disks = names(2, tmp_path)
    with launched(*disks) as g:
        g.luks_format("/dev/sda", "secret", 0)
        g.cryptsetup_open("/dev/sda", "secret", "inner")
        g.vgcreate("vg", ["/dev/mapper/inner"])
        g.lvcreate("lv", "vg", 8)
        g.vg_activate_all(False)
        g.cryptsetup_close("/dev/mapper/inner")
        g.shutdown()
    with launched(*disks) as g:
        assert is_asleep(g)
        g.cryptsetup_open("/dev/sda", "secret", "inner")
        assert g.lvs() == ["/dev/vg/lv"]
        assert shell(g, "readlink /dev/vg/lv").startswith("../dm-")


def test_a_filesystem_of_several_devices_can_be_mounted(tmp_path: Path) -> None:
    disks = names(3, tmp_path)
    for path in disks:
        with path.open("wb") as file:
            file.truncate(160 * MEGABYTE)
    with launched(*disks) as g:
        g.mkfs_btrfs(["/dev/sda", "/dev/sdb", "/dev/sdc"])
        g.mount("/dev/sda", "/")
        g.write("/file", b"on three")
        g.shutdown()
    with launched(*disks) as g:
        assert is_asleep(g)
        g.mount("/dev/sdb", "/")
        assert g.read_file("/file") == b"on three"


@pytest.mark.parametrize("version", [full("0.90"), full("1.0"), full("1.1"), "1.2"])
def test_a_group_on_an_array_is_found(version: str, tmp_path: Path) -> None:
    disks = names(2, tmp_path)
    with launched(*disks) as g:
        make_array(g, version, "/dev/sda /dev/sdb")
        g.vgcreate("vg", g.list_md_devices())
        g.lvcreate("lv", "vg", 16)
        g.mkfs("ext4", "/dev/vg/lv", label="on-array")
        g.shutdown()
    with launched(*disks, readonly=True) as g:
        assert is_asleep(g), "the group on the array was not activated by its metadata"
        assert g.list_md_devices() == ["/dev/md127"]
        assert g.list_filesystems()["/dev/vg/lv"] == "ext4"
        assert g.vfs_label("/dev/vg/lv") == "on-array"


def test_an_array_on_volumes_is_assembled(tmp_path: Path) -> None:
    disks = names(2, tmp_path)
    with launched(*disks) as g:
        for number, disk in enumerate(("/dev/sda", "/dev/sdb")):
            g.vgcreate(f"vg{number}", [disk])
            g.lvcreate("lv", f"vg{number}", 16)
        make_array(g, "1.2", "/dev/vg0/lv /dev/vg1/lv")
        g.mkfs("ext4", g.list_md_devices()[0], label="on-both")
        g.shutdown()
    with launched(*disks, readonly=True) as g:
        assert is_asleep(g)
        (array,) = g.list_md_devices()
        assert g.vfs_label(array) == "on-both"


@pytest.mark.full
def test_an_array_without_a_member_is_what_it_is_to_libguestfs(tmp_path: Path) -> None:
    disks = names(3, tmp_path)
    with launched(*disks) as g:
        make_array(g, "1.2", "/dev/sda /dev/sdb /dev/sdc")
        g.shutdown()
    seen = []
    for choice in ("auto", "system"):
        with Guestfs(appliance=choice) as g:
            for path in disks[:2]:
                g.add_drive(path, format="raw", readonly=True)
            g.launch()
            state = shell(g, "cat /sys/block/md127/md/array_state /sys/block/md127/md/raid_disks")
            seen.append((g.list_md_devices(), g.list_filesystems(), state))
    assert seen[0] == seen[1]
    assert seen[0][2] == "inactive"


def make_array(g: Guestfs, version: str, members: str) -> None:
    count = len(members.split())
    shell(
        g,
        f"mdadm --create /dev/md/named --metadata={version} --level=1 --raid-devices={count} --run {members}",
    )


def test_programs_of_a_guest_saw_no_links_by_uuid(tmp_path: Path) -> None:
    """Regression: update-grub writes root=/dev/sda1 if /dev/disk/by-uuid does not have the root."""
    disks = names(1, tmp_path)
    with launched(*disks) as g:
        g.part_disk("/dev/sda", "gpt")
        g.mkfs("ext4", "/dev/sda1")
        uuid = g.vfs_uuid("/dev/sda1")
        g.shutdown()
    with open_guest(disks[0], readonly=False, format="raw", root="sda1") as g:
        assert shell(g, f"ls /dev/disk/by-uuid/{uuid}; test -e {ASLEEP} || echo awake").endswith("awake")


def make_group(g: Guestfs) -> None:
    """Make an ordinary group on the whole first disk, and leave it inactive."""
    g.vgcreate("vg", ["/dev/sda"])
    g.lvcreate("lv", "vg", 8)
    g.vg_activate_all(False)


def test_a_label_below_a_newer_table_of_partitions_is_passed_as_lvm_passes_it(tmp_path: Path) -> None:
    disks = names(1, tmp_path)
    with launched(*disks) as g:
        make_group(g)
        entry = b"\x80\0\0\0\x83\0\0\0" + (4096).to_bytes(4, "little") + (65536).to_bytes(4, "little")
        g.pwrite_device("/dev/sda", entry, 446)  # parted would remove the label
        g.pwrite_device("/dev/sda", b"\x55\xaa", 510)
        g.shutdown()
    with launched(*disks) as g:
        assert g.list_partitions() == ["/dev/sda1"]
        assert shell(g, "dmsetup table") == "No devices found"
        g.mkfs("ext4", "/dev/sda1")


def test_what_looks_like_a_member_but_is_none_hides_no_group(tmp_path: Path) -> None:
    disks = names(1, tmp_path)
    with launched(*disks) as g:
        make_group(g)
        g.pwrite_device("/dev/sda", b"\xde\x11\xde\x11", 64 * MEGABYTE - 512)  # what is left of a DDF array
        g.shutdown()
    with launched(*disks) as g:
        assert not is_asleep(g)
        assert shell(g, "dmsetup table").startswith("vg-lv: ")
