"""Guests to inspect, made by recipe and kept below build/: each image is the smallest of its kind.

mke2fs itself fills most filesystems; guestkit makes those that need a kernel (LVM, LUKS, RAID, btrfs, NTFS),
all in one appliance. Nothing here needs root.
"""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from guestkit import Guestfs

from . import hives, registry, rpm, trees
from .trees import Fifo, File, Link, Tree

with Guestfs(environment=False) as _handle:
    _version = _handle.version()
#: The installed libguestfs: what it is expected to say of some guests.
LIBGUESTFS = (_version["major"], _version["minor"])
#: Whether it knows what libguestfs has learnt since Debian 12.
KNOWS_NEWER = LIBGUESTFS >= (1, 54)
#: Whether it follows the links below /dev/disk/by-uuid.
FOLLOWS_LINKS = LIBGUESTFS >= (1, 56)

#: Whether it leaves out the snapshots of a root.
LEAVES_OUT_SNAPSHOTS = LIBGUESTFS >= (1, 60)

BUILD = Path(__file__).parents[2] / "build" / "corpus"

MB = 1 << 20
ROOT_UUID = "11111111-2222-3333-4444-555555555555"
ROOT_ENTRY = f"UUID={ROOT_UUID} / ext4 defaults 0 1\n"
PASSPHRASE = "open sesame"


@dataclass(frozen=True)
class Part:
    """A partition: its filesystem, which is made on the host, and the files in it."""

    tree: Tree | None = None
    type: str = "ext4"
    label: str = ""
    uuid: str = ""
    size: int = 24 * MB
    spoil: Sequence[tuple[int, bytes]] = ()  # bytes to overwrite in the end, with their offsets


@dataclass(frozen=True)
class Image:
    """A guest, and what an inspection is expected to find.

    Attributes:
        build: fills the disk of that name in a running appliance, instead of parts
        size: size of the disk that build fills
        fast: whether guestkit's own rules may decide
        systems: distribution, version and host name of each operating system
        way: "rescue" if inspect_os fails, so that the verified answer has to do without it
        corrections: the facts that libguestfs is known to get wrong
        undecided: whether it gets them wrong only at times
        failures: a part of the message of each failure of the first system, in order
        error: the error of inspect_os, if it fails although guestkit's own rules may decide
        told: texts, each of which a failure's message must contain
        cut: how many bytes are missing at the end of the disk
        packages: how many the first system has, where that was counted
    """

    parts: Sequence[Part] = ()
    build: Callable[[Guestfs, str], None] | None = None
    size: int = 160 * MB
    fast: bool = False
    systems: Sequence[tuple[str, int, int, str]] = ()
    way: str = ""
    corrections: Sequence[str] = ()
    undecided: bool = False
    failures: Sequence[str] = ()
    error: str = ""
    told: Sequence[str] = ()
    cut: int = 0
    unopened: Sequence[str] = ()
    packages: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


def pack(g: Guestfs, tree: Tree) -> None:
    """Write the files into the mounted filesystem, and unmount it."""
    _write(g, tree)
    g.umount_all()


def _write(g: Guestfs, tree: Tree) -> None:
    with tempfile.TemporaryDirectory() as directory:
        trees.write(tree, Path(directory, "tree"))
        archive = Path(directory, "tree.tar")
        subprocess.run(
            ["tar", "-C", Path(directory, "tree"), "--owner=0", "--group=0", "-cf", archive, "."], check=True
        )
        g.tar_in(archive, "/")


def partition(g: Guestfs, disk: str) -> str:
    g.part_disk(disk, "gpt")
    return f"{disk}1"


def _two_partitions(g: Guestfs, disk: str) -> None:
    g.part_init(disk, "gpt")
    g.part_add(disk, "p", 2048, 67583)
    g.part_add(disk, "p", 67584, 133119)


def _root(g: Guestfs, device: str, tree: Tree, **options: Any) -> None:
    g.mke2fs(device, fstype="ext4", blocksize=1024, **options)
    g.mount(device, "/")
    pack(g, tree)


def lvm(g: Guestfs, disk: str) -> None:
    name = f"vg-{disk[-3:]}"
    g.pvcreate(partition(g, disk))
    g.vgcreate(name, [f"{disk}1"])
    g.lvcreate("ro-ot", name, 24)
    g.lvcreate("var", name, 8)
    g.mke2fs(f"/dev/{name}/var", fstype="ext4", blocksize=1024)
    mapped = name.replace("-", "--")
    fstab = f"/dev/mapper/{mapped}-ro--ot / ext4 defaults 0 1\n/dev/{name}/var /srv ext4 defaults 0 2\n"
    _root(g, f"/dev/{name}/ro-ot", trees.debian(**{"etc/fstab": fstab, "srv": None}))


def luks(g: Guestfs, disk: str) -> None:
    device = partition(g, disk)
    g.luks_format(device, PASSPHRASE, 0)
    g.cryptsetup_open(device, PASSPHRASE, f"corpus{disk[-1]}")
    _root(g, f"/dev/mapper/corpus{disk[-1]}", trees.debian(**{"etc/fstab": "# none\n"}))
    g.cryptsetup_close(f"/dev/mapper/corpus{disk[-1]}")


def in_appliance(g: Guestfs, *command: str) -> str:
    """Run a command in the appliance, for things that libguestfs has no action for."""
    return g.debug("sh", list(command))


def thin_lvm(g: Guestfs, disk: str) -> None:
    name = f"thin{disk[-1]}"
    g.pvcreate(partition(g, disk))
    g.vgcreate(name, [f"{disk}1"])
    in_appliance(g, f"lvm lvcreate -q -L 32M -V 24M -T {name}/pool -n root 2>&1")
    _root(g, f"/dev/{name}/root", trees.debian(**{"etc/fstab": f"/dev/{name}/root / ext4 defaults 0 1\n"}))


def lvm_in_luks(g: Guestfs, disk: str) -> None:
    device, name = partition(g, disk), f"shut{disk[-1]}"
    g.luks_format(device, PASSPHRASE, 0)
    g.cryptsetup_open(device, PASSPHRASE, name)
    g.pvcreate(f"/dev/mapper/{name}")
    g.vgcreate(f"vg{name}", [f"/dev/mapper/{name}"])
    g.lvcreate_free("root", f"vg{name}", 90)
    _root(
        g, f"/dev/vg{name}/root", trees.debian(**{"etc/fstab": f"/dev/vg{name}/root / ext4 defaults 0 1\n"})
    )
    g.vg_activate(False, [f"vg{name}"])
    g.cryptsetup_close(f"/dev/mapper/{name}")


def old_raid(g: Guestfs, disk: str) -> None:
    """RAID with the superblock format of 2002 (0.90), at the end of each member."""
    _two_partitions(g, disk)
    members = [f"/dev/disk/by-partuuid/{g.blkid(disk + number)['PART_ENTRY_UUID']}" for number in "12"]
    in_appliance(g, "mdadm -q --create /dev/md90 --run --metadata=0.90 --level=1 -n 2", *members, "2>&1")
    _root(g, "/dev/md90", trees.debian(**{"etc/fstab": "/dev/md0 / ext4 defaults 0 1\n"}))
    g.md_stop("/dev/md90")


def dirty(g: Guestfs, disk: str) -> None:
    """A guest that lost power: its journal is yet to be replayed."""
    _two_partitions(g, disk)
    g.mke2fs(f"{disk}1", fstype="ext4", blocksize=1024, label="root")
    g.mount(f"{disk}1", "/")
    _write(g, trees.debian(**{"etc/fstab": "LABEL=root / ext4 defaults 0 1\n"}))
    g.sync()
    g.copy_device_to_device(f"{disk}1", f"{disk}2")  # while it is mounted
    g.umount_all()
    g.part_del(disk, 1)
    assert "needs_recovery" in g.tune2fs_l(f"{disk}2")["Filesystem features"]


def btrfs_default(g: Guestfs, disk: str) -> None:
    """The root is the default subvolume, which is not the top-level one; fstab has that, too."""
    device = partition(g, disk)
    g.mkfs_btrfs([device], label="root")
    g.mount(device, "/")
    g.btrfs_subvolume_create("/@")
    (made,) = g.btrfs_subvolume_list("/")
    g.btrfs_subvolume_set_default(made["btrfssubvolume_id"], "/")
    g.umount_all()
    g.mount(device, "/")
    fstab = "LABEL=root / btrfs defaults 0 0\nLABEL=root /top btrfs subvolid=5 0 0\n"
    pack(g, trees.suse("opensuse-leap", "openSUSE Leap", "15.5", **{"etc/fstab": fstab, "top": None}))


def snapper(g: Guestfs, disk: str) -> None:
    """As openSUSE installs it: the root is one of two snapshots."""
    device = partition(g, disk)
    g.mkfs_btrfs([device], label="root")
    g.mount(device, "/")
    g.btrfs_subvolume_create("/@")
    g.btrfs_subvolume_create("/@/.snapshots")
    g.mkdir("/@/.snapshots/1")
    g.btrfs_subvolume_create("/@/.snapshots/1/snapshot")
    root = next(v for v in g.btrfs_subvolume_list("/") if v["btrfssubvolume_path"].endswith("1/snapshot"))
    g.btrfs_subvolume_set_default(root["btrfssubvolume_id"], "/")
    g.umount_all()
    g.mount(device, "/")
    fstab = "LABEL=root / btrfs defaults 0 0\nLABEL=root /.snapshots btrfs subvol=/@/.snapshots 0 0\n"
    pack(g, trees.suse("opensuse-leap", "openSUSE Leap", "15.5", **{"etc/fstab": fstab}))
    g.mount(f"btrfsvol:{device}/@", "/")
    g.mkdir("/.snapshots/2")
    g.btrfs_subvolume_snapshot("/.snapshots/1/snapshot", "/.snapshots/2/snapshot", ro=True)
    g.umount_all()


def btrfs(g: Guestfs, disk: str) -> None:
    device = partition(g, disk)
    g.mkfs_btrfs([device], label="root")
    g.mount(device, "/")
    g.btrfs_subvolume_create("/root")
    g.btrfs_subvolume_create("/home")
    g.umount_all()
    g.mount(f"btrfsvol:{device}/root", "/")
    fstab = "LABEL=root / btrfs subvol=root 0 0\nLABEL=root /home btrfs subvol=home 0 0\n"
    pack(
        g,
        trees.red_hat(
            "fedora", "Fedora Linux", "39", "Fedora release 39", "fedora-release", **{"etc/fstab": fstab}
        ),
    )


def whole_disk(g: Guestfs, disk: str) -> None:
    """A cloud's volume: a filesystem without a partition table around it."""
    g.mke2fs(disk, fstype="ext4", blocksize=1024, label="whole", forcecreate=True)
    g.mount(disk, "/")
    pack(g, trees.debian(**{"etc/fstab": "LABEL=whole / ext4 defaults 0 1\n"}))


def whole_btrfs(g: Guestfs, disk: str) -> None:
    """Debian's subvolume, one by its number, one whose name mount(8) cannot take, one below another."""
    g.mkfs_btrfs([disk], label="whole")
    g.mount(disk, "/")
    for name in ("@rootfs", "@home", "a,b", "@home/etc"):
        g.btrfs_subvolume_create(f"/{name}")
    home = next(v for v in g.btrfs_subvolume_list("/") if v["btrfssubvolume_path"] == "@home")
    g.umount_all()
    g.mount(f"btrfsvol:{disk}/@rootfs", "/")
    fstab = (
        "LABEL=whole / btrfs subvol=@rootfs 0 0\n"
        f"LABEL=whole /home btrfs subvol=@home,subvolid={home['btrfssubvolume_id']} 0 0\n"
    )
    pack(g, trees.debian(**{"etc/fstab": fstab, "home": None}))


def partitioned_array(g: Guestfs, disk: str) -> None:
    _two_partitions(g, disk)
    g.md_create(f"parts{disk[-1]}", [f"{disk}1", f"{disk}2"], level="raid1")
    (array,) = (md for md in g.list_md_devices() if g.md_detail(md)["name"].endswith(f"parts{disk[-1]}"))
    g.part_disk(array, "gpt")
    _root(g, f"{array}p1", trees.debian(**{"etc/fstab": "# none\n"}))
    g.md_stop(array)


def xfs(g: Guestfs, disk: str) -> None:
    """The layout of RHEL 9's installer: /boot, and the rest in LVM."""
    name = f"rhel{disk[-1]}"
    g.part_init(disk, "gpt")
    g.part_add(disk, "p", 2048, 320 * MB // 512 - 1)
    g.part_add(disk, "p", 320 * MB // 512, 690 * MB // 512 - 1)
    g.pvcreate(f"{disk}2")
    g.vgcreate(name, [f"{disk}2"])
    g.lvcreate("root", name, 320)
    g.lvcreate("swap", name, 16)
    g.mkswap(f"/dev/{name}/swap")
    g.mkfs("xfs", f"{disk}1")
    g.mount(f"{disk}1", "/")
    pack(g, {"vmlinuz-5.14.0": b"kernel", "grub2/grub.cfg": ""})
    g.mkfs("xfs", f"/dev/{name}/root", label="root")
    g.mount(f"/dev/{name}/root", "/")
    fstab = (
        f"/dev/mapper/{name}-root / xfs defaults 0 0\n"
        f"UUID={g.vfs_uuid(f'{disk}1')} /boot xfs defaults 0 0\n"
        f"/dev/mapper/{name}-swap none swap defaults 0 0\n"
    )
    line = "Red Hat Enterprise Linux release 9.3 (Plow)"
    pack(
        g,
        trees.red_hat(
            "rhel", "Red Hat Enterprise Linux", "9.3", line, "redhat-release", **{"etc/fstab": fstab}
        ),
    )


def raid(g: Guestfs, disk: str) -> None:
    _two_partitions(g, disk)
    g.md_create(f"corpus{disk[-1]}", [f"{disk}1", f"{disk}2"], level="raid1")
    (array,) = (md for md in g.list_md_devices() if g.md_detail(md)["name"].endswith(f"corpus{disk[-1]}"))
    _root(g, array, trees.debian(**{"etc/fstab": "/dev/md0 / ext4 defaults 0 1\n"}))
    g.md_stop(array)


def half_an_array(g: Guestfs, disk: str) -> None:
    """RAID 0 of two partitions, one of which was wiped."""
    _two_partitions(g, disk)
    g.md_create(f"half{disk[-1]}", [f"{disk}1", f"{disk}2"], level="raid0")
    (array,) = (md for md in g.list_md_devices() if g.md_detail(md)["name"].endswith(f"half{disk[-1]}"))
    g.md_stop(array)
    g.zero_device(f"{disk}2")


def half_a_volume_group(g: Guestfs, disk: str) -> None:
    """One of two physical volumes was wiped, as if its disk were missing."""
    _two_partitions(g, disk)
    name = f"half{disk[-1]}"
    g.pvcreate(f"{disk}1")
    g.pvcreate(f"{disk}2")
    g.vgcreate(name, [f"{disk}1", f"{disk}2"])
    in_appliance(g, f"lvm lvcreate -q -L 24M -n whole {name} {disk}1 2>&1")
    in_appliance(g, f"lvm lvcreate -q -L 24M -n gone {name} {disk}2 2>&1")
    _root(g, f"/dev/{name}/whole", {"data": ""})
    g.vg_activate(False, [name])
    g.zero_device(f"{disk}2")


def ubuntu_cloud(g: Guestfs, disk: str) -> None:
    """As Canonical publishes it: the root is partition 1, but lies behind those that boot it."""
    g.part_init(disk, "gpt")
    g.part_add(disk, "p", 16384, 16384 + 81920 - 1)
    g.part_add(disk, "p", 2048, 4095)
    g.part_add(disk, "p", 4096, 16383)
    g.part_set_gpt_type(disk, 2, "21686148-6449-6E6F-744E-656564454649")
    g.part_set_gpt_type(disk, 3, "C12A7328-F81F-11D2-BA4B-00A0C93EC93B")
    g.part_set_name(disk, 1, "the $root")
    g.mkfs("vfat", f"{disk}3", label="UEFI")
    tree = {
        **trees.ubuntu(),
        "etc/fstab": "LABEL=cloudimg-rootfs / ext4 discard,errors=remount-ro 0 1\n"
        "LABEL=UEFI /boot/efi vfat umask=0077 0 1\n",
        "boot/efi": None,
    }
    del tree["boot"]
    _root(g, f"{disk}1", tree, label="cloudimg-rootfs")


def real_debian(g: Guestfs, disk: str) -> None:
    """A bootable Debian made by mmdebstrap, with some 200 packages, like a user's."""
    g.part_disk(disk, "gpt")
    g.mkfs("ext4", f"{disk}1", label="root")
    g.mount(f"{disk}1", "/")
    with tempfile.TemporaryDirectory() as directory:
        archive = Path(directory, "debian.tar")
        subprocess.run(
            [
                "mmdebstrap",
                "--quiet",
                "--variant=important",
                "--include=linux-image-cloud-amd64",
                "bookworm",
                archive,
            ],
            check=True,
        )
        g.tar_in(archive, "/", xattrs=True)
    g.write("/etc/fstab", b"LABEL=root / ext4 errors=remount-ro 0 1\n")
    g.write("/etc/hostname", b"real\n")
    g.write("/etc/debian_version", b"12.8\n")  # whichever version the mirror has
    g.umount_all()


def windows(g: Guestfs, disk: str) -> None:
    device = partition(g, disk)
    g.mkfs("ntfs", device)
    g.mount(device, "/")
    pack(g, registry.windows())


def ntfs(g: Guestfs, device: str, tree: Tree, label: str = "") -> None:
    g.mkfs("ntfs", device, label=label or None)
    g.mount(device, "/")
    pack(g, tree)


def windows_10(g: Guestfs, disk: str) -> None:
    """GPT: the system, a data volume with programs, and the small partitions that Windows makes."""
    g.part_init(disk, "gpt")
    for start, end in ((2048, 34815), (34816, 67583), (67584, 198655), (198656, 264191), (264192, 296959)):
        g.part_add(disk, "p", start, end)
    kinds = (
        "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
        "E3C9E316-0B5C-4DB8-817D-F92DF00215AE",
        *["EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"] * 2,
        "DE94BBA4-06D1-4D40-A16A-BFD50179D6AC",
    )
    for number, kind in enumerate(kinds, 1):
        g.part_set_gpt_type(disk, number, kind)
    g.mkfs("vfat", f"{disk}1")
    drives = {
        letter: registry.mounted_in_gpt(g.part_get_gpt_guid(disk, number))
        for letter, number in (("C", 3), ("D", 4))
    }
    tree = registry.windows_10(hives.write(registry.software()), hives.write(registry.system(drives)))
    ntfs(g, f"{disk}3", tree, "Windows")
    data: Tree = {"System Volume Information": None, "Program Files/app/app.exe": "", "Windows/old.log": ""}
    ntfs(g, f"{disk}4", data, "Daten")
    ntfs(g, f"{disk}5", {"Recovery/WindowsRE/winre.wim": "", "System Volume Information": None})


def _windows_in_mbr(g: Guestfs, disk: str, tree: Tree, **files: bytes) -> None:
    config = "Windows/System32/config"
    drives = {
        "C": registry.mounted_in_mbr(b"WIN\xff", 2048 * 512),
        "E": registry.mounted_in_mbr(b"WIN\xff", 512),
    }
    g.part_init(disk, "mbr")
    g.part_add(disk, "p", 2048, 100351)
    g.part_add(disk, "p", 100352, -1)
    g.part_set_mbr_id(disk, 1, 7)
    g.pwrite_device(disk, b"WIN\xff", 0x1B8)
    windows = registry.windows_10(
        hives.write(registry.software()), hives.write(registry.system(drives, "TWO"))
    )
    ntfs(
        g,
        f"{disk}1",
        {**windows, **{f"{config}/{name}": content for name, content in files.items()}},
        "Windows",
    )
    _root(g, f"{disk}2", tree, label="debian")


def dual_boot(g: Guestfs, disk: str) -> None:
    fstab = "LABEL=debian / ext4 defaults 0 1\nLABEL=Windows /mnt ntfs ro 0 0\n"
    _windows_in_mbr(g, disk, trees.debian(**{"etc/fstab": fstab, "mnt": None}))


def damaged_hive(g: Guestfs, disk: str) -> None:
    """A hive in which the key of the version has become free space."""
    hive = bytearray(hives.write(registry.software()))
    place = hive.index(b"CurrentVersion") - 80
    hive[place : place + 4] = struct.pack("<i", -struct.unpack_from("<i", hive, place)[0])
    _windows_in_mbr(g, disk, {"data": ""}, SOFTWARE=bytes(hive))


def windows_2003(g: Guestfs, disk: str) -> None:
    """A server of 32 bits with boot.ini, in /WINNT, the only partition of a disk with an MBR."""
    root = hives.Key()
    root.at(r"Microsoft\Windows NT\CurrentVersion").values = hives.texts(
        {"ProductName": "Microsoft Windows Server 2003 R2", "CurrentVersion": "5.2"}
    )
    root.at(registry.UNINSTALL).at("KB1").values = hives.texts({"DisplayName": "Hotfix"})
    config = "WINNT/system32/config"
    g.part_disk(disk, "mbr")
    ntfs(
        g,
        f"{disk}1",
        {
            f"{config}/software": hives.write(root),
            f"{config}/system": hives.write(registry.system({}, "OLDSERVER")),
            "WINNT/system32/CMD.EXE": registry.program_of_32_bits(),
            "boot.ini": "[boot loader]\r\n[operating systems]\r\n"
            "multi(0)disk(0)rdisk(0)partition(1)\\WINNT=Server\r\n",
            "System Volume Information": None,
        },
    )


def hibernated_windows(g: Guestfs, disk: str) -> None:
    windows(g, disk)
    g.mount(f"{disk}1", "/")
    g.write("/hiberfil.sys", b"hibr" + bytes(8188))
    g.umount_all()


#: Traps that a guest may set for its reader.
HOSTILE: dict[str, File] = {
    "etc/hostname": "\x1b]0;owned\x07\n",
    "etc/passwd": Fifo(),
    "etc/timezone": Link("/dev/zero"),
    "etc/machine-id": Link("../../../../../../proc/self/environ"),
    "etc/default/locale": Link("locale"),
    "etc/network/interfaces": "iface\niface \xff\x00\n" * 100,
}

#: Mountpoints that lead out of the guest, to the appliance's own programs.
ATTACKED = (
    "/../usr/bin",
    "/../../../../tmp",
    "/a/../..",
    "/way",
    "/a/up",
    "/way/local",
)
_ATTACKING: dict[str, File] = {
    "etc/fstab": ROOT_ENTRY
    + "".join(f"LABEL=evil {place} ext4 defaults 0 2\n" for place in ATTACKED)
    + "LABEL=evil /safe ext4 defaults 0 2\n",
    "a/up": Link("../.."),
    "way": Link("/usr"),
    "safe": None,
}
ATTACK = (
    Part(trees.debian(**_ATTACKING), uuid=ROOT_UUID),
    Part(dict.fromkeys(("umount", "mount", "lsof"), trees.marker("/owned")), label="evil"),
)

_ROOT, _USR = trees.without_usr(
    {name: file for name, file in trees.ubuntu().items() if name != "etc/lsb-release"}
)


def named(g: Guestfs, disk: str) -> None:
    """Filesystems whose labels have spaces, with names in fstab that libguestfs 1.48 does not know."""
    g.part_init(disk, "gpt")
    for number, name in enumerate(("root", "data", "spool"), 1):
        g.part_add(disk, "p", 2048 + (number - 1) * 65536, 2047 + number * 65536)
        g.part_set_name(disk, number, name)
    g.mke2fs(f"{disk}2", fstype="ext4", label="data disk")
    g.mke2fs(f"{disk}3", fstype="ext4", label="third")
    identity = g.blkid(f"{disk}3")["PART_ENTRY_UUID"]
    fstab = (
        "PARTLABEL=root / ext4 defaults 0 1\nLABEL=data\\040disk /my\\040data ext4 defaults 0 2\n"
        f'PARTUUID="{identity.upper()}" /third ext4 defaults 0 2\n'
        "/dev/disk/by-partlabel/d\\x61ta /again ext4 defaults 0 2\n"
        "LABEL=gone /gone ext4 nofail 0 2\n"
    )
    changes: dict[str, File] = {"etc/fstab": fstab, **dict.fromkeys(("my data", "third", "again"))}
    _root(g, f"{disk}1", trees.debian(**changes))


def tagged(g: Guestfs, disk: str) -> None:
    """Filesystems that fstab names by what GPT says of their partitions."""
    g.part_init(disk, "gpt")
    for number, name in enumerate(("root", "data"), 1):
        g.part_add(disk, "p", 2048 + (number - 1) * 65536, 2047 + number * 65536)
        g.part_set_name(disk, number, name)
    g.mke2fs(f"{disk}2", fstype="ext4")
    identity = g.blkid(f"{disk}1")["PART_ENTRY_UUID"]
    fstab = f"PARTUUID={identity} / ext4 defaults 0 1\nPARTLABEL=data /srv ext4 defaults 0 2\n"
    _root(g, f"{disk}1", trees.debian(**{"etc/fstab": fstab, "srv": None}))


_PACKAGES = rpm.packages()
_LOGGED = rpm.sqlite(_PACKAGES[:30])


def _rocky(database: bytes, **how: Any) -> Tree:
    line = "Rocky Linux release 9.3 (Blue Onyx)"
    tree = trees.red_hat("rocky", "Rocky Linux", "9", line, "rocky-release")
    return {**tree, **rpm.installed("var/lib/rpm", "rpmdb.sqlite", database, **how)}


_ENDLESS_MACROS: dict[str, File] = {
    "var/lib/rpm/rpmdb.sqlite": b"no database",
    "usr/lib/rpm/macros": Fifo(),
}

ALPINE = Image([Part(trees.alpine())], fast=True, systems=[("alpinelinux", 3, 19, "alpine")])

#: Files that must not hang whoever opens them, and the error for each.
ODD_FILES: dict[str, tuple[File, str]] = {
    "fifo": (Fifo(), "is a FIFO"),
    "directory": (None, "is a directory"),
    "link out": (Link("/dev/zero"), "is a symlink to nothing in the guest"),
    "link round": (Link("status"), "is a loop of symlinks"),
}

#: By name. Every run inspects those before "fedora".
CORPUS: dict[str, Image] = {
    "debian": Image(
        [Part(trees.debian(), uuid=ROOT_UUID), Part(type="swap")],
        fast=True,
        systems=[("debian", 12, 5, "debian12")],
        facts={
            "product_name": "12.5",
            "timezone": "Europe/Berlin",
            "locale": "de_DE.UTF-8",
            "machine_id": "0123456789abcdef0123456789abcdef",
            "services": ("ssh.service",),
        },
    ),
    "hibernated": Image([Part(type="swap", spoil=[(4086, b"S1SUSPEND\0")])], unopened=["hibernated"]),
    "ubuntu": Image(
        [
            Part(type="vfat", size=40 * MB, label="EFI"),
            Part({"vmlinuz": b"kernel", "grub/grub.cfg": ""}, label="boot"),
            Part(trees.ubuntu(), label="root"),
        ],
        fast=True,
        systems=[("ubuntu", 22, 4, "ubuntu")],
        facts={"osinfo": "ubuntu22.04", "filesystems": ("/dev/sda1", "/dev/sda2", "/dev/sda3")},
    ),
    "lvm": Image(build=lvm, fast=True, systems=[("debian", 12, 5, "debian12")]),
    "luks": Image(build=luks, fast=True, unopened=["encrypted"]),
    "damaged": Image(
        [Part(trees.debian(), spoil=[(1024 + 24, bytes(1000)), (1024 + 56, b"\x53\xef")])],
        unopened=["damaged"],
    ),
    "odd lines": Image(
        [
            Part(
                trees.debian(
                    **{
                        "etc/fstab": ROOT_ENTRY
                        + 'UUID="x" TYPE="ext4" /data ext4 defaults 1 2\nbroken\n'
                        + "LABEL=data /srv ext4 defaults 0 2\nLABEL=data /mnt ext4 defaults, ro 0 2\n",
                        "srv": None,
                    }
                ),
                uuid=ROOT_UUID,
            ),
            Part({"a": "b"}, label="data"),
        ],
        fast=True,
        systems=[("debian", 12, 5, "debian12")],
        corrections=["operating_systems", "mountpoints"],
        failures=[
            'line 2: cannot be read: "defaults" stands where a number belongs',
            'line 3: cannot be read: needs a device, a mountpoint and a type: "broken"',
            'line 5: cannot be read: "ro" stands where a number belongs',
        ],
        facts={"mountpoints": {"/": "/dev/sda1", "/srv": "/dev/sda2"}},
    ),
    "attack": Image(
        ATTACK,
        fast=True,
        systems=[("debian", 12, 5, "debian12")],
        corrections=["mountpoints"],
        failures=[f'is not mounted on "{place}": ' for place in ATTACKED],
        facts={"mountpoints": {"/": "/dev/sda1", "/safe": "/dev/sda2"}},
    ),
    "ubuntu cloud": Image(
        build=ubuntu_cloud,
        fast=True,
        systems=[("ubuntu", 22, 4, "ubuntu")],
        facts={"mountpoints": {"/": "/dev/sda1", "/boot/efi": "/dev/sda3"}},
    ),
    "status is a fifo": Image(
        [Part(trees.debian(**{"var/lib/dpkg/status": ODD_FILES["fifo"][0]}), uuid=ROOT_UUID)],
        fast=True,
        systems=[("debian", 12, 5, "debian12")],
        told=["/var/lib/dpkg/status is a FIFO"],
        facts={"applications_complete": False, "applications": ()},
    ),
    "rocky with packages": Image(
        [Part(_rocky(rpm.sqlite(_PACKAGES, wal=False)), label="root")],
        fast=True,
        systems=[("rocky", 9, 3, "rocky")],
        packages=len(_PACKAGES),
        facts={"applications_complete": True, "failures": ()},
    ),
    "silverblue": Image(
        [Part(trees.ostree(), label="root", size=32 * MB)],
        systems=[("fedora", 40, 0, "silverblue40")],
        corrections=["operating_systems"],
        told=["/usr/share/rpm/rpmdb.sqlite has no header of SQLite", "is a deployment of ostree"],
        facts={
            "root_directory": "/ostree/deploy/fedora/deploy/aaaa.0",
            "product_name": "Fedora Linux 40",
            "arch": "x86_64",
            "package_format": "rpm",
            "locale": "en_US.UTF-8",
        },
    ),
    "subvolumes on a whole disk": Image(
        build=whole_btrfs,
        fast=True,
        systems=[("debian", 12, 5, "debian12")],
        facts={"root": "btrfsvol:/dev/sda/@rootfs", "applications_complete": True},
    ),
    # Those from here on are for --full.
    "fedora": Image(
        [
            Part(
                trees.red_hat(
                    "fedora", "Fedora Linux", "39", "Fedora release 39 (Thirty Nine)", "fedora-release"
                ),
                label="root",
            )
        ],
        fast=True,
        systems=[("fedora", 39, 0, "fedora")],
        facts={"package_management": "dnf", "locale": "en_US.UTF-8"},
    ),
    "broken beside": Image(
        [
            Part(
                trees.debian(
                    **{"etc/fstab": ROOT_ENTRY + "LABEL=broken /broken ext4 defaults 0 2\n", "broken": None}
                ),
                uuid=ROOT_UUID,
            ),
            # The superblock is whole: a newer blkid does not recognise a damaged one.
            Part({}, label="broken", spoil=[(2048, b"\xff" * 64)]),
        ],
        systems=[("debian", 12, 5, "debian12")],
        told=['/dev/sda2 is not mounted on "/broken": '],
        unopened=["damaged"],
    ),
    "fedora unreadable packages": Image(
        [
            Part(
                trees.red_hat(
                    "fedora",
                    "Fedora Linux",
                    "39",
                    "Fedora release 39",
                    "fedora-release",
                    **{"var/lib/rpm/rpmdb.sqlite": b"this is no database"},
                ),
                label="root",
            )
        ],
        systems=[("fedora", 39, 0, "fedora")],
        facts={"applications_complete": False, "applications": ()},
    ),
    "xfs": Image(
        build=xfs,
        size=700 * MB,
        fast=True,
        systems=[("rhel", 9, 3, "rhel")],
    ),
    "rhel": Image(
        [
            Part(
                trees.red_hat(
                    "rhel",
                    "Red Hat Enterprise Linux",
                    "9.3",
                    "Red Hat Enterprise Linux release 9.3 (Plow)",
                    "rhel",
                ),
                label="root",
            )
        ],
        fast=True,
        systems=[("rhel", 9, 3, "rhel")],
    ),
    "rocky": Image(
        [
            Part(
                trees.red_hat(
                    "rocky", "Rocky Linux", "9", "Rocky Linux release 9.3 (Blue Onyx)", "rocky-release"
                ),
                label="root",
            )
        ],
        fast=True,
        systems=[("rocky", 9, 3, "rocky")],
    ),
    # librpm, which libguestfs runs, does not open a database with a log in a filesystem that is read-only.
    "rocky closed properly": Image(
        [Part(_rocky(rpm.sqlite(_PACKAGES)), label="root")],
        fast=True,
        systems=[("rocky", 9, 3, "rocky")],
        corrections=["applications"],
        packages=len(_PACKAGES),
        facts={"applications_complete": True, "failures": ()},
    ),
    "rocky with a log": Image(
        [Part(_rocky(_LOGGED, log=rpm.logged(_LOGGED, _PACKAGES[30:])), label="root")],
        fast=True,
        systems=[("rocky", 9, 3, "rocky")],
        corrections=["applications"],
        packages=len(_PACKAGES),
        facts={"applications_complete": True, "failures": ()},
    ),
    "rocky without rpm": Image(
        [Part(_rocky(rpm.sqlite(_PACKAGES), settings=False), label="root")],
        fast=True,
        systems=[("rocky", 9, 3, "rocky")],
        corrections=["applications"],
        packages=len(_PACKAGES),
        facts={"applications_complete": True, "failures": ()},
    ),
    "rocky cut off": Image(
        [Part(_rocky(rpm.sqlite(_PACKAGES, wal=False)[:400_000]), label="root")],
        fast=True,
        systems=[("rocky", 9, 3, "rocky")],
        corrections=["applications"],
        told=["packages were left out ("],
        facts={"applications_complete": False},
    ),
    "centos stream": Image(
        [
            Part(
                trees.red_hat("centos", "CentOS Stream", "9", "CentOS Stream release 9", "centos-release"),
                label="root",
            )
        ],
        fast=True,
        systems=[("centos", 9, 0, "centos")],
    ),
    "centos 7": Image(
        [
            Part(
                {
                    **trees.red_hat(
                        "centos",
                        "CentOS Linux",
                        "7",
                        "CentOS Linux release 7.9.2009 (Core)",
                        "centos-release",
                    ),
                    **rpm.installed("var/lib/rpm", "Packages", rpm.bdb(_PACKAGES)),
                },
                label="root",
            )
        ],
        fast=True,
        systems=[("centos", 7, 9, "centos")],
        packages=len(_PACKAGES),
        facts={"osinfo": "centos7.0", "package_management": "yum", "applications_complete": True},
    ),
    "alma": Image(
        [
            Part(
                trees.red_hat(
                    "almalinux", "AlmaLinux", "9.3", "AlmaLinux release 9.3 (Shamrock)", "almalinux-release"
                ),
                label="root",
            )
        ],
        systems=[("almalinux", 9, 3, "almalinux")],
        corrections=["distro", "product_name", "osinfo"],
    ),
    "leap": Image(
        [Part(trees.suse("opensuse-leap", "openSUSE Leap", "15.5"), label="root")],
        fast=True,
        systems=[("opensuse", 15, 5, "opensuse-leap")],
    ),
    "sles": Image(
        [
            Part(
                {
                    **trees.suse("sles", "SUSE Linux Enterprise Server", "15.5"),
                    **rpm.installed("usr/lib/sysimage/rpm", "Packages.db", rpm.ndb(_PACKAGES)),
                },
                label="root",
            )
        ],
        fast=True,
        systems=[("sles", 15, 5, "sles")],
        # Debian 12's librpm does not know this format; later ones want an index.
        corrections=["applications"],
        undecided=True,
        packages=len(_PACKAGES),
        facts={"osinfo": "sle15sp5" if LIBGUESTFS >= (1, 60) else "sles15sp5", "applications_complete": True},
    ),
    "alpine": ALPINE,
    "arch": Image([Part(trees.arch(), label="root")], fast=True, systems=[("archlinux", 0, 0, "arch")]),
    "raspbian": Image(
        [
            Part(
                {
                    **trees.debian(),
                    **trees.release(ID="raspbian", VERSION_ID="12", PRETTY_NAME="Raspbian 12"),
                },
                uuid=ROOT_UUID,
            )
        ],
        systems=[("raspbian", 12, 5, "debian12")],
        corrections=["distro", "product_name", "osinfo"],
        facts={"product_name": "Raspbian 12", "osinfo": "unknown", "package_management": "apt"},
    ),
    "32 bits": Image(
        [
            Part(
                {**trees.debian(), **trees.linux(trees.I386), "usr/bin/bash": trees.elf(trees.I386)},
                uuid=ROOT_UUID,
            )
        ],
        fast=True,
        systems=[("debian", 12, 5, "debian12")],
        facts={"arch": "i386"},
    ),
    "arm": Image(
        [Part({**trees.debian(), "usr/bin/bash": trees.elf(trees.AARCH64)}, uuid=ROOT_UUID)],
        fast=True,
        systems=[("debian", 12, 5, "debian12")],
        facts={"arch": "aarch64"},
    ),
    "separate var": Image(
        [
            Part(
                trees.debian(**{"etc/fstab": f"{ROOT_ENTRY}LABEL=var /var ext4 defaults 0 2\n"}),
                uuid=ROOT_UUID,
            ),
            Part(
                {"lib/dpkg/status": trees.dpkg_status(3), **dict.fromkeys(("log", "run", "spool"))},
                label="var",
            ),
        ],
        fast=True,
        systems=[("debian", 12, 5, "debian12")],
    ),
    "separate usr": Image(
        [
            Part(
                trees.debian(**{"etc/fstab": f"{ROOT_ENTRY}LABEL=usr /usr ext4 defaults 0 2\n"}),
                uuid=ROOT_UUID,
            ),
            Part(
                {"bin/bash": trees.elf(), "lib/x": "", **dict.fromkeys(("local", "share", "src"))},
                label="usr",
            ),
        ],
        systems=[("debian", 12, 5, "debian12")],
    ),
    "ubuntu usr": Image(
        [
            Part(
                {
                    **_ROOT,
                    "etc/fstab": "LABEL=root / ext4 defaults 0 1\nLABEL=usr /usr ext4 defaults 0 2\n",
                },
                label="root",
            ),
            Part(_USR, label="usr"),
        ],
        fast=True,
        systems=[("ubuntu", 22, 4, "ubuntu")],
        corrections=["product_name", "distro", "osinfo"],
        facts={
            "mountpoints": {"/": "/dev/sda1", "/usr": "/dev/sda2"},
            "arch": "x86_64",
            "osinfo": "ubuntu22.04",
            "product_name": "Ubuntu 22.04.4 LTS",
        },
    ),
    "names": Image(
        build=named,
        fast=True,
        systems=[("debian", 12, 5, "debian12")],
        corrections=["mountpoints", "filesystems"],
        failures=['line 5: "LABEL=gone" is not mounted on "/gone": no filesystem on the disks has it'],
        facts={
            "mountpoints": {
                "/": "/dev/sda1",
                "/third": "/dev/sda3",
                "/again": "/dev/sda2",
                "/my data": "/dev/sda2",
            }
        },
    ),
    "partition tags": Image(
        build=tagged,
        fast=True,
        systems=[("debian", 12, 5, "debian12")],
        corrections=[] if KNOWS_NEWER else ["mountpoints", "filesystems"],
        facts={"mountpoints": {"/": "/dev/sda1", "/srv": "/dev/sda2"}},
    ),
    "other bus": Image(
        [
            Part(
                trees.debian(
                    **{
                        "etc/fstab": "/dev/nvme0n1p1 / ext4 defaults 0 1\n/dev/nvme0n1p2 /srv ext4 ro 0 2\n",
                        "srv": None,
                    }
                )
            ),
            Part({"a": "b"}),
        ],
        fast=True,
        systems=[("debian", 12, 5, "debian12")],
        corrections=["mountpoints", "filesystems"],
        facts={"mountpoints": {"/": "/dev/sda1", "/srv": "/dev/sda2"}, "failures": ()},
    ),
    "root not there": Image(
        [Part(trees.debian(**{"etc/fstab": "/dev/disk/by-path/pci-x / ext4 defaults 0 1\n"}))],
        fast=True,
        systems=[("debian", 12, 5, "debian12")],
        corrections=["mountpoints", "filesystems"],
        failures=["/dev/sda1, where the system was found, is mounted instead"],
        facts={"mountpoints": {"/": "/dev/sda1"}},
    ),
    "windows line ends": Image(
        [
            Part(
                {
                    **trees.debian(**{"etc/fstab": ROOT_ENTRY.replace("\n", "\r\n")}),
                    "usr/lib/os-release": 'PRETTY_NAME="Debian 12"\r\nVERSION_ID="12"\r\nID=debian\r\n',
                },
                uuid=ROOT_UUID,
            )
        ],
        fast=True,
        systems=[("debian", 12, 5, "debian12")],
        corrections=["operating_systems", "mountpoints", "distro, version"],
        facts={"mountpoints": {"/": "/dev/sda1"}, "failures": ()},
    ),
    "no end": Image(
        [
            Part(
                trees.debian(**{"etc/fstab": ROOT_ENTRY + "x" * 3 * MB + " / ext4 defaults 0 1"}),
                uuid=ROOT_UUID,
            )
        ],
        fast=True,
        systems=[("debian", 12, 5, "debian12")],
        corrections=["operating_systems", "mountpoints"],
        failures=["line 2: the file is larger than 2097152 bytes"],
    ),
    "twenty thousand lines": Image(
        [
            Part(
                trees.red_hat(
                    "fedora",
                    "Fedora Linux",
                    "39",
                    "Fedora release 39",
                    "fedora-release",
                    **{
                        "var/lib/rpm/rpmdb.sqlite": "no database",
                        "etc/fstab": "LABEL=root / ext4 defaults 1 1\n"
                        + "".join(f"LABEL=root /m{number} ext4 ro 0 0\n" for number in range(20000)),
                    },
                ),
                label="root",
            )
        ],
        way="rescue",
        systems=[("fedora", 39, 0, "fedora")],
        told=["/etc/fstab, line 501: more than 500 entries", "more than 100 mountpoints"],
        facts={"package_format": "rpm", "arch": "x86_64"},
    ),
    "odd line in fedora": Image(
        [
            Part(
                trees.red_hat(
                    "fedora",
                    "Fedora Linux",
                    "39",
                    "Fedora release 39",
                    "fedora-release",
                    **{
                        "var/lib/rpm/rpmdb.sqlite": "no database",
                        "etc/fstab": "LABEL=root / ext4 defaults 1 1\nodd\n",
                    },
                ),
                label="root",
            )
        ],
        way="rescue",
        systems=[("fedora", 39, 0, "fedora")],
        failures=["line 2: cannot be read", "rpmdb.sqlite has no header of SQLite"],
    ),
    "nixos": Image(
        [Part(trees.nixos(), label="root")],
        systems=[("nixos", 24, 5, "nixos")],
        corrections=["operating_systems"],
        told=["packages of the format nix, which are in /nix/var/nix/db"],
        facts={"product_name": "NixOS 24.05 (Uakari)", "arch": "x86_64"},
    ),
    "photon": Image(
        [
            Part(
                trees.unknown(
                    "photon",
                    "VMware Photon OS",
                    "4.0",
                    **{"var/lib/rpm/rpmdb.sqlite": rpm.sqlite(_PACKAGES), "usr/bin/tdnf": trees.elf()},
                ),
                label="root",
            )
        ],
        systems=[("photon", 4, 0, "photon")],
        corrections=["distro", "package_format", "package_management"],
        packages=len(_PACKAGES),
        facts={
            "product_name": "VMware Photon OS 4.0",
            "package_format": "rpm",
            "package_management": "tdnf",
            "applications_complete": True,
        },
    ),
    "openeuler": Image(
        [Part(trees.unknown("openEuler", "openEuler", "22.03"), label="root")],
        fast=KNOWS_NEWER,
        systems=[("openeuler", 22, 3, "openEuler")],
        corrections=[] if KNOWS_NEWER else ["distro"],
        told=[] if KNOWS_NEWER else ["there is no package database"],
    ),
    "opencloudos": Image(
        [Part(trees.unknown("opencloudos", "OpenCloudOS", "9.0"), label="root")],
        fast=KNOWS_NEWER,
        systems=[("opencloudos", 9, 0, "opencloudos")],
        corrections=[] if KNOWS_NEWER else ["distro"],
        told=[] if KNOWS_NEWER else ["there is no package database"],
    ),
    "tencentos": Image(
        [Part(trees.unknown("tencentos", "TencentOS Server", "3.1"), label="root")],
        fast=LIBGUESTFS >= (1, 60),
        systems=[("tencentos", 3, 1, "tencentos")],
        corrections=[] if LIBGUESTFS >= (1, 56) else ["distro"],
        told=[] if LIBGUESTFS >= (1, 56) else ["there is no package database"],
    ),
    "circle": Image(
        [
            Part(
                trees.red_hat(
                    "circle", "Circle Linux", "9", "Circle Linux release 9.3 (Hexadecagon)", "circle-release"
                ),
                label="root",
            )
        ],
        fast=KNOWS_NEWER,
        systems=[("circle", 9, 3, "circle")],
        corrections=[] if KNOWS_NEWER else ["distro", "product_name", "osinfo"],
        facts={"osinfo": "circle9"} if KNOWS_NEWER else {},
    ),
    "amazon 2023": Image(
        [
            Part(
                trees.unknown("amzn", "Amazon Linux", "2023", **{"etc/system-release": "Amazon\n"}),
                label="root",
            )
        ],
        systems=[("amzn", 2023, 0, "amzn")],
        corrections=["distro"],
        told=["there is no package database"],
    ),
    "neon": Image(
        [Part(trees.neon(), label="root")],
        systems=[("neon", 22, 4, "neon")],
        corrections=["distro", "product_name", "package_format", "package_management"],
        facts={"product_name": "KDE neon 22.04", "package_management": "apt", "applications_complete": True},
    ),
    "manjaro": Image(
        [
            Part(
                {
                    **trees.unknown("manjaro", "Manjaro", "23.1"),
                    "var/lib/pacman/local/a-1-1/desc": "%NAME%\na\n\n%VERSION%\n1-1\n\n%ARCH%\nany\n",
                    "var/lib/pacman/local/b-1-1/desc": Fifo(),
                },
                label="root",
            )
        ],
        systems=[("manjaro", 23, 1, "manjaro")],
        corrections=["distro", "package_format", "package_management"],
        told=["packages were left out (1): /var/lib/pacman/local/b-1-1/desc is a FIFO"],
        facts={"package_format": "pacman", "applications_complete": False},
    ),
    "distroless": Image(
        [
            Part(
                {
                    **{name: file for name, file in trees.debian().items() if name != "var/lib/dpkg/status"},
                    "var/lib/dpkg/status.d/base": "Package: base\nVersion: 12\nArchitecture: all",
                    "var/lib/dpkg/status.d/base.md5sums": "0 x\n",
                },
                uuid=ROOT_UUID,
            )
        ],
        fast=True,
        systems=[("debian", 12, 5, "debian12")],
        facts={"applications_complete": True},
    ),
    "fedora coreos": Image(
        [Part(trees.boot_entries(), label="boot"), Part(trees.ostree(""), label="root", size=32 * MB)],
        systems=[("fedora", 40, 0, "silverblue40")],
        corrections=["operating_systems"],
        told=["is a deployment of ostree"],
        facts={"root": "/dev/sda2"},
    ),
    "ostree without a boot loader": Image(
        [Part(trees.ostree(""), label="root", size=32 * MB)],
        systems=[("fedora", 39, 0, "silverblue39")],
        corrections=["operating_systems"],
        told=["is a deployment of ostree"],
    ),
    "flatcar": Image(
        [
            Part(trees.flatcar_usr("3815.2.0"), label="USR-A"),
            Part(trees.flatcar_usr("3602.2.1"), label="USR-B"),
            Part({"boot": None, "usr": None}, label="ROOT"),
        ],
        systems=[("flatcar", 3815, 2, "unknown")],
        corrections=["operating_systems"],
        told=["there is no package database"],
        facts={"mountpoints": {"/": "/dev/sda3", "/usr": "/dev/sda1"}, "arch": "x86_64"},
    ),
    **{
        f"status: {name}": Image(
            [Part(trees.debian(**{"var/lib/dpkg/status": file}), uuid=ROOT_UUID)],
            fast=True,
            systems=[("debian", 12, 5, "debian12")],
            told=[f"/var/lib/dpkg/status {said}"],
        )
        for name, (file, said) in ODD_FILES.items()
        if name != "fifo"
    },
    "apk is a fifo": Image(
        [Part({**trees.alpine(), "lib/apk/db/installed": Fifo()})],
        fast=True,
        systems=[("alpinelinux", 3, 19, "alpine")],
        told=["/lib/apk/db/installed is a FIFO"],
    ),
    "rpm is a fifo": Image(
        [
            Part(
                trees.red_hat(
                    "almalinux",
                    "AlmaLinux",
                    "9.3",
                    "AlmaLinux release 9.3 (Shamrock)",
                    "almalinux-release",
                    **{"var/lib/rpm/rpmdb.sqlite": Fifo()},
                ),
                label="root",
            )
        ],
        systems=[("almalinux", 9, 3, "almalinux")],
        corrections=["distro", "product_name", "osinfo"],
        told=["/var/lib/rpm/rpmdb.sqlite is a FIFO"],
    ),
    "rpm macros are a fifo": Image(
        [
            Part(
                trees.red_hat(
                    "almalinux",
                    "AlmaLinux",
                    "9.3",
                    "AlmaLinux release 9.3 (Shamrock)",
                    "almalinux-release",
                    **_ENDLESS_MACROS,
                ),
                label="root",
            )
        ],
        systems=[("almalinux", 9, 3, "almalinux")],
        corrections=["distro", "product_name", "osinfo"],
        told=["librpm would find no end, since /usr/lib/rpm/macros is a FIFO"],
    ),
    "files of fifos": Image(
        [
            Part(
                {
                    **trees.debian(),
                    **dict.fromkeys(
                        ("etc/lsb-release", "etc/hostname", "etc/HOSTNAME", "etc/redhat-release"), Fifo()
                    ),
                    "usr/bin/bash": Fifo(),
                    "etc/sysconfig/network": Fifo(),
                    "usr/share/pixmaps/debian-logo.png": Fifo(),
                },
                uuid=ROOT_UUID,
            )
        ],
        systems=[("debian", 12, 5, "unknown")],
    ),
    "os-release is a loop": Image(
        [Part(trees.debian(**{"etc/os-release": Link("os-release")}), uuid=ROOT_UUID)],
        way="rescue",
        systems=[("debian", 12, 5, "debian12")],
        told=["/etc/os-release: Too many levels of symbolic links"],
        facts={"product_name": "Debian GNU/Linux 12 (bookworm)"},
    ),
    "a link out of the guest": Image(
        [
            Part(
                {
                    **trees.debian(),
                    "etc/mdadm.conf": Link("/sysroot/file"),
                    "sysroot/file": "ARRAY /dev/md0 UUID=1\n",
                    "file": Fifo(),
                },
                uuid=ROOT_UUID,
            )
        ],
        fast=True,
        systems=[("debian", 12, 5, "debian12")],
        error="/etc/mdadm.conf is no regular file",
    ),
    "beyond the end": Image(
        [Part(trees.debian(), uuid=ROOT_UUID), Part(type="none", size=64 * MB)],
        cut=48 * MB,
        fast=True,
        systems=[("debian", 12, 5, "debian12")],
        error="Can't have a partition outside the disk",
        unopened=["unknown"],
    ),
    "labels": Image(
        [
            Part(trees.debian(**{"etc/fstab": "LABEL=a\\040b / ext4 defaults 0 1\n"}), label="a b"),
            Part({}, label="q\"'$`\\^A"),
        ],
        fast=True,
        systems=[("debian", 12, 5, "debian12")],
    ),
    "half a volume group": Image(
        build=half_a_volume_group,
        fast=True,
        unopened=["unknown", "incomplete"],
        error="" if LIBGUESTFS >= (1, 60) else "/gone: No such file or directory",
    ),
    "no fstab": Image(
        [Part({name: file for name, file in trees.debian().items() if name != "etc/fstab"})],
        fast=True,
        systems=[("debian", 12, 5, "debian12")],
    ),
    "two systems": Image(
        [Part(trees.debian(), uuid=ROOT_UUID), Part(trees.alpine())],
        fast=True,
        systems=[("debian", 12, 5, "debian12"), ("alpinelinux", 3, 19, "alpine")],
        corrections=["mountpoints", "filesystems"],  # Alpine's fstab names Debian's root
    ),
    "no system": Image([Part({"photos/1.jpg": b"jpeg"})], fast=True),
    "duplicate uuid": Image(
        [Part(trees.debian(), uuid=ROOT_UUID), Part({"backup": ""}, uuid=ROOT_UUID)],
        fast=True,
        corrections=["mountpoints", "filesystems"],
        undecided=True,
        facts={"mountpoints": {"/": "/dev/sda1"}, "failures": ()},
        systems=[("debian", 12, 5, "debian12")],
    ),
    "odd fstab": Image(
        [
            Part(
                trees.debian(**{"etc/fstab": f' UUID={ROOT_UUID}\t/ ext4 defaults,x="1" 0 1\n'}),
                uuid=ROOT_UUID,
            )
        ],
        fast=True,
        systems=[("debian", 12, 5, "debian12")],
    ),
    "by-uuid": Image(
        [
            Part(
                trees.debian(**{"etc/fstab": f"/dev/disk/by-uuid/{ROOT_UUID} / ext4 defaults 0 1\n"}),
                uuid=ROOT_UUID,
            )
        ],
        fast=True,
        corrections=[] if FOLLOWS_LINKS else ["mountpoints", "filesystems"],
        facts={"mountpoints": {"/": "/dev/sda1"}},
        systems=[("debian", 12, 5, "debian12")],
    ),
    "hostile": Image(
        [
            Part(
                trees.debian(**HOSTILE),
                uuid=ROOT_UUID,
            )
        ],
        fast=True,
        systems=[("debian", 12, 5, "\x1b]0;owned\x07")],
        facts={"timezone": "Europe/Berlin", "machine_id": "", "locale": ""},
    ),
    "freebsd": Image([Part(trees.freebsd())], systems=[("freebsd", 13, 2, "freebsd")]),
    "coreos": Image(
        [Part(trees.coreos_root()), Part(trees.coreos_usr())], systems=[("coreos", 1688, 5, "coreos")]
    ),
    "blank": Image([Part(type="none")], fast=True, unopened=["unknown"]),
    "btrfs": Image(build=btrfs, fast=True, systems=[("fedora", 39, 0, "fedora")]),
    "whole disk": Image(
        build=whole_disk,
        fast=True,
        systems=[("debian", 12, 5, "debian12")],
        facts={"root": "/dev/sda", "applications_complete": True},
    ),
    "partitions of an array": Image(
        build=partitioned_array, fast=True, systems=[("debian", 12, 5, "debian12")]
    ),
    # fstab has the array's name in the guest, not in the appliance; the root is mounted all the same.
    "raid": Image(
        build=raid,
        fast=True,
        systems=[("debian", 12, 5, "debian12")],
        corrections=["mountpoints", "filesystems"],
        facts={"applications_complete": True, "mountpoints": {"/": "/dev/md127"}},
    ),
    "half an array": Image(build=half_an_array, fast=True, unopened=["incomplete", "unknown"]),
    "real debian": Image(build=real_debian, size=2 << 30, fast=True, systems=[("debian", 12, 8, "real")]),
    "thin lvm": Image(build=thin_lvm, fast=True, systems=[("debian", 12, 5, "debian12")]),
    "lvm in luks": Image(build=lvm_in_luks, fast=True, unopened=["encrypted"]),
    "old raid": Image(
        build=old_raid,
        fast=True,
        systems=[("debian", 12, 5, "debian12")],
        corrections=["mountpoints", "filesystems"],
    ),
    "dirty": Image(build=dirty, fast=True, systems=[("debian", 12, 5, "debian12")]),
    "btrfs default": Image(
        build=btrfs_default,
        fast=True,
        systems=[("opensuse", 15, 5, "opensuse-leap")],
        corrections=["mountpoints", "filesystems"],
        facts={"mountpoints": {"/": "/dev/sda1", "/top": "btrfsvol:/dev/sda1//"}},
    ),
    "snapper": Image(
        build=snapper,
        fast=True,
        systems=[("opensuse", 15, 5, "opensuse-leap")] * (1 if LEAVES_OUT_SNAPSHOTS else 2),
        corrections=[] if LEAVES_OUT_SNAPSHOTS else ["mountpoints", "filesystems"],
    ),
    "amazon": Image(
        [
            Part(
                trees.red_hat(
                    "amzn", "Amazon Linux", "2", "Amazon Linux release 2 (Karoo)", "system-release"
                ),
                label="root",
            )
        ],
        systems=[("amzn", 2, 0, "amzn")],
        corrections=["distro", "product_name", "osinfo"],
    ),
    "hibernated windows": Image(build=hibernated_windows, fast=True, systems=[("windows", 6, 1, "WINGUEST")]),
    "windows 10": Image(
        build=windows_10,
        fast=True,
        systems=[("windows", 10, 0, "DESKTOP-ÄÖ")],
        facts={
            "product_name": "Windows 10 Pro",
            "osinfo": "win10",
            "build_id": "19045" if KNOWS_NEWER else "",
            "drive_mappings": {"C": "/dev/sda3", "D": "/dev/sda4"},
        },
        packages=8 if LIBGUESTFS >= (1, 60) else 7,  # with Windows' own antivirus
    ),
    "windows and debian": Image(
        build=dual_boot,
        fast=True,
        systems=[("windows", 10, 0, "TWO"), ("debian", 12, 5, "debian12")],
        facts={"drive_mappings": {"C": "/dev/sda1"}},
    ),
    "windows with a damaged hive": Image(
        build=damaged_hive,
        way="rescue",
        systems=[("windows", 0, 0, "TWO")],
        facts={
            "product_name": "unknown",
            "arch": "x86_64",
            "mountpoints": {"/": "/dev/sda1"},
            "drive_mappings": {"C": "/dev/sda1"},
        },
        told=[
            "inspect_os: unhandled exception thrown: Hivex.Error",
            'SOFTWARE" is damaged or unusual (a registry with links to unused space)',
        ],
    ),
    "windows 2003": Image(
        build=windows_2003,
        fast=True,
        systems=[("windows", 5, 2, "OLDSERVER")],
        facts={"osinfo": "win2k3r2", "arch": "i386", "product_variant": "unknown"},
        packages=1,
    ),
    "windows": Image(
        build=windows,
        fast=True,
        systems=[("windows", 6, 1, "WINGUEST")],
        facts={"product_name": "Windows 7 Professional", "osinfo": "win7", "arch": "x86_64"},
    ),
}

SHORT = tuple(CORPUS)[: tuple(CORPUS).index("fedora")]


def images(names: Sequence[str]) -> dict[str, Path]:
    """Return the disks of these guests; make those that do not exist yet or whose recipe has changed."""
    recipe = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    directory = BUILD / hashlib.sha256(recipe).hexdigest()[:16]
    directory.mkdir(parents=True, exist_ok=True)
    paths = {name: directory / f"{name.replace(' ', '-')}.img" for name in names}
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        missing = {name: path for name, path in paths.items() if not path.exists()}
        made = {name: Path(scratch, path.name) for name, path in missing.items()}
        for name, path in made.items():
            if CORPUS[name].build is None:
                _make(CORPUS[name].parts, path)
                os.truncate(path, path.stat().st_size - CORPUS[name].cut)
        _make_in_appliance({name: path for name, path in made.items() if CORPUS[name].build is not None})
        for name, path in made.items():
            os.replace(path, paths[name])  # complete or absent
    return paths


def _make(parts: Sequence[Part], path: Path) -> None:
    """Write a disk with an MBR and these partitions."""
    table = b""
    start = MB
    with open(path, "wb") as disk:
        for part in parts:
            code = {"swap": 0x82, "vfat": 0xEF}.get(part.type, 0x83)
            table += struct.pack(
                "<B3sB3sII", 0, b"\xfe\xff\xff", code, b"\xfe\xff\xff", start // 512, part.size // 512
            )
            _fill(part, path, start)
            start += part.size
        disk.truncate(start)
        disk.seek(440)
        disk.write(b"GKIT\0\0" + table.ljust(64, b"\0") + b"\x55\xaa")


def _fill(part: Part, path: Path, start: int) -> None:
    if part.type == "none":
        return
    with tempfile.TemporaryDirectory() as directory:
        filesystem = Path(directory, "filesystem")
        with open(filesystem, "wb") as file:
            file.truncate(part.size)
        tree = Path(directory, "tree")
        tree.mkdir()
        trees.write(part.tree or {}, tree)
        label = ["-L", part.label] if part.label else []
        if part.type == "swap":
            command = ["mkswap", *label]
        elif part.type == "vfat":
            command = ["mkfs.vfat", *(["-n", part.label] if part.label else [])]
        else:
            identity = ["-U", part.uuid] if part.uuid else []
            command = [
                "mke2fs",
                "-q",
                "-F",
                "-t",
                part.type,
                "-b",
                "1024",
                "-d",
                str(tree),
                *label,
                *identity,
            ]
        subprocess.run([*command, filesystem], check=True, capture_output=True)
        with open(filesystem, "r+b") as file:
            for offset, content in part.spoil:
                file.seek(offset)
                file.write(content)
        subprocess.run(
            [
                "dd",
                f"if={filesystem}",
                f"of={path}",
                "bs=1M",
                f"seek={start // MB}",
                "conv=notrunc,sparse",
                "status=none",
            ],
            check=True,
        )


def _make_in_appliance(disks: Mapping[str, Path]) -> None:
    if not disks:
        return
    with Guestfs() as g:
        for name, path in disks.items():
            g.disk_create(path, "raw", CORPUS[name].size)
            g.add_drive(path, format="raw")
        g.launch()
        for name, disk in zip(disks, g.list_devices(), strict=True):
            build = CORPUS[name].build
            assert build is not None
            build(g, disk)
        g.shutdown()
