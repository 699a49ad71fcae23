"""Disks as people have them, to measure inspections with: each kind has its own layout and databases.

All Linux ones have the files of a real Debian, so that directories have the usual sizes. Distributions whose
packages cannot be had here have its files with their own os-release and package database.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from guestkit import Guestfs

from . import corpus, hives, registry, rpm, trees
from .corpus import BUILD, MB, PASSPHRASE, in_appliance
from .trees import Tree

GIB = 1 << 30


@dataclass(frozen=True)
class Kind:
    """A kind of guest: what fills its disks in a running appliance."""

    build: Callable[[Guestfs, Sequence[str]], None]
    disks: int = 1
    key: str = ""


def archive() -> Path:
    """Return the files of a real Debian, as a tar archive."""
    path = BUILD / "debian.tar"
    if not path.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILD) as scratch:
            made = Path(scratch, "debian.tar")
            without = [
                f"--dpkgopt=path-exclude=/usr/share/{name}/*"
                for name in ("doc", "info", "locale", "man", "zoneinfo")
            ]
            subprocess.run(
                ["mmdebstrap", "--quiet", "--variant=important", *without, "bookworm", made], check=True
            )
            made.replace(path)
    return path


def _install(g: Guestfs, fstab: str, changes: Tree, *, dpkg: bool = True) -> None:
    """Write a Debian with these changes into what is mounted, and unmount it."""
    g.tar_in(archive(), "/", xattrs=True)
    if not dpkg:
        g.rm_rf("/var/lib/dpkg")
    corpus.pack(g, {"etc/fstab": fstab, "etc/hostname": "kind\n", **changes})


DEBIAN: Tree = {"etc/debian_version": "12.8\n"}  # whichever version the mirror has


def gpt_ext4(g: Guestfs, disks: Sequence[str]) -> None:
    (disk,) = disks
    g.part_disk(disk, "gpt")
    g.mkfs("ext4", f"{disk}1", label="root")
    g.mount(f"{disk}1", "/")
    _install(g, "LABEL=root / ext4 errors=remount-ro 0 1\n", DEBIAN)


def _boot_and_rest(g: Guestfs, disk: str, scheme: str, megabytes: int) -> None:
    """Make a partition of that size for /boot, and one of the rest."""
    rest = 2048 + megabytes * MB // 512
    g.part_init(disk, scheme)
    g.part_add(disk, "p", 2048, rest - 1)
    g.part_add(disk, "p", rest, -40)


def _root_in_lvm(g: Guestfs, beneath: str, group: str) -> str:
    """Make a volume group with a root of XFS and some swap, and mount the root."""
    g.pvcreate(beneath)
    g.vgcreate(group, [beneath])
    g.lvcreate("swap", group, 64)
    g.lvcreate_free("root", group, 100)
    g.mkswap(f"/dev/{group}/swap")
    g.mkfs("xfs", f"/dev/{group}/root")
    g.mount(f"/dev/{group}/root", "/")
    return f"/dev/mapper/{group}-root / xfs defaults 0 0\n/dev/mapper/{group}-swap none swap sw 0 0\n"


def mbr_lvm(g: Guestfs, disks: Sequence[str]) -> None:
    (disk,) = disks
    _boot_and_rest(g, disk, "mbr", 256)
    g.mkfs("ext4", f"{disk}1")
    g.mount(f"{disk}1", "/")
    corpus.pack(g, {"vmlinuz-6.1.0": b"kernel", "grub/grub.cfg": ""})
    fstab = _root_in_lvm(g, f"{disk}2", f"debian{disk[-1]}")
    _install(g, f"UUID={g.vfs_uuid(f'{disk}1')} /boot ext4 defaults 0 2\n{fstab}", DEBIAN)


def whole_btrfs(g: Guestfs, disks: Sequence[str]) -> None:
    (disk,) = disks
    g.mkfs_btrfs([disk], label="whole")
    g.mount(disk, "/")
    for name in ("@rootfs", "@home", "@snapshots"):
        g.btrfs_subvolume_create(f"/{name}")
    g.umount_all()
    g.mount(f"btrfsvol:{disk}/@rootfs", "/")
    fstab = "LABEL=whole / btrfs subvol=@rootfs 0 0\nLABEL=whole /home btrfs subvol=@home 0 0\n"
    _install(g, fstab, DEBIAN)


UBUNTU: Tree = {
    **trees.release(
        PRETTY_NAME="Ubuntu 24.04.1 LTS", NAME="Ubuntu", VERSION_ID="24.04", ID="ubuntu", ID_LIKE="debian"
    ),
    "etc/lsb-release": "DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=24.04\nDISTRIB_DESCRIPTION=Ubuntu\n",
    "boot/efi": None,
}


def cloud(g: Guestfs, disks: Sequence[str]) -> None:
    """As Canonical publishes it: the root is partition 1, behind those that boot it."""
    (disk,) = disks
    in_appliance(
        g,
        "sgdisk -n 14:2048:10239 -t 14:ef02 -n 15:10240:227327 -t 15:ef00",
        "-n 16:227328:1951743 -n 1:1951744:0",
        disk,
    )
    g.blockdev_rereadpt(disk)
    g.mkfs("vfat", f"{disk}15", label="UEFI")
    g.mkfs("ext4", f"{disk}16", label="BOOT")
    g.mount(f"{disk}16", "/")
    corpus.pack(g, {"vmlinuz-6.8.0": b"kernel", "grub/grub.cfg": ""})
    g.mkfs("ext4", f"{disk}1", label="cloudimg-rootfs")
    g.mount(f"{disk}1", "/")
    fstab = (
        "LABEL=cloudimg-rootfs / ext4 discard,commit=30,errors=remount-ro 0 1\n"
        "LABEL=BOOT /boot ext4 defaults 0 2\nLABEL=UEFI /boot/efi vfat umask=0077 0 1\n"
    )
    _install(g, fstab, UBUNTU)


def _rpm(directory: str, packages: int, megabytes: int) -> Tree:
    """Return rpm's database, and its settings, with which libguestfs reads it."""
    headers = [
        rpm.package(
            f"package-{number:04}", f"{number % 30}.{number % 7}.1", f"{number % 20}.fc41",
            arch="noarch" if number % 4 == 0 else "x86_64", url=f"https://example.org/{number}",
            summary=f"The package number {number}",
            description=f"It has some lines.\n{'They tell what it is for. ' * (number % 12)}",
            # As on real systems, a few packages have most of the files.
            padding=megabytes * MB * 8 // packages if number % 8 == 0 else 2000,
        )
        for number in range(packages)
    ]  # fmt: skip
    return rpm.installed(directory, "rpmdb.sqlite", rpm.sqlite(headers))


FEDORA: Tree = {
    **trees.release(NAME="Fedora Linux", VERSION_ID="41", ID="fedora", PRETTY_NAME="Fedora Linux 41"),
    "etc/fedora-release": "Fedora release 41 (Forty One)\n",
    "usr/bin/dnf": "#!/usr/bin/python3\n",
}
RHEL: Tree = {
    **trees.release(
        NAME="Red Hat Enterprise Linux",
        VERSION_ID="9.4",
        ID="rhel",
        PRETTY_NAME="Red Hat Enterprise Linux 9.4",
    ),
    "etc/redhat-release": "Red Hat Enterprise Linux release 9.4 (Plow)\n",
    "usr/bin/dnf": "#!/usr/bin/python3\n",
}


def fedora(g: Guestfs, disks: Sequence[str]) -> None:
    (disk,) = disks
    g.part_init(disk, "gpt")
    edges = [2048, 4096, 2048 * 513, 2048 * 1025]
    for start, end in zip(edges, [*edges[1:], None], strict=True):
        g.part_add(disk, "p", start, -40 if end is None else end - 1)
    g.part_set_gpt_type(disk, 1, "21686148-6449-6E6F-744E-656564454649")
    g.part_set_gpt_type(disk, 2, "C12A7328-F81F-11D2-BA4B-00A0C93EC93B")
    g.mkfs("vfat", f"{disk}2", label="EFI")
    g.mkfs("ext4", f"{disk}3", label="boot")
    g.mount(f"{disk}3", "/")
    corpus.pack(g, {"vmlinuz-6.11.4": b"kernel", "loader/entries/one.conf": "title Fedora\n"})
    device = f"{disk}4"
    g.mkfs_btrfs([device], label="fedora")
    g.mount(device, "/")
    for name in ("root", "home", "var"):
        g.btrfs_subvolume_create(f"/{name}")
    g.umount_all()
    g.mount(f"btrfsvol:{device}/root", "/")
    uuid = g.vfs_uuid(device)
    fstab = "".join(
        f"UUID={uuid} {place} btrfs subvol={name},compress=zstd:1 0 0\n"
        for place, name in (("/", "root"), ("/home", "home"))
    )
    fstab += "LABEL=boot /boot ext4 defaults 1 2\nLABEL=EFI /boot/efi vfat umask=0077 0 2\n"
    _install(g, fstab, {**FEDORA, **_rpm("usr/lib/sysimage/rpm", 900, 50)}, dpkg=False)


def rhel(g: Guestfs, disks: Sequence[str]) -> None:
    (disk,) = disks
    _boot_and_rest(g, disk, "gpt", 512)
    g.mkfs("xfs", f"{disk}1")
    g.mount(f"{disk}1", "/")
    corpus.pack(g, {"vmlinuz-5.14.0": b"kernel", "grub2/grub.cfg": ""})
    fstab = _root_in_lvm(g, f"{disk}2", f"rhel{disk[-1]}")
    boot_line = f"UUID={g.vfs_uuid(f'{disk}1')} /boot xfs defaults 0 0\n"
    _install(g, fstab + boot_line, {**RHEL, **_rpm("var/lib/rpm", 500, 60)}, dpkg=False)


def raid(g: Guestfs, disks: Sequence[str]) -> None:
    for disk in disks:
        g.part_disk(disk, "gpt")
    name = f"kind{disks[0][-1]}"
    g.md_create(name, [f"{disk}1" for disk in disks], level="raid1")
    (array,) = (md for md in g.list_md_devices() if g.md_detail(md)["name"].endswith(name))
    g.mkfs("ext4", array)
    g.mount(array, "/")
    _install(g, f"UUID={g.vfs_uuid(array)} / ext4 errors=remount-ro 0 1\n", DEBIAN)
    g.md_stop(array)


def luks(g: Guestfs, disks: Sequence[str]) -> None:
    (disk,) = disks
    _boot_and_rest(g, disk, "gpt", 256)
    g.mkfs("ext4", f"{disk}1", label="boot")
    g.luks_format(f"{disk}2", PASSPHRASE, 0)
    name = f"kind{disk[-1]}"
    g.cryptsetup_open(f"{disk}2", PASSPHRASE, name)
    fstab = _root_in_lvm(g, f"/dev/mapper/{name}", f"crypt{disk[-1]}")
    _install(g, f"{fstab}LABEL=boot /boot ext4 defaults 0 2\n", DEBIAN)
    g.vg_activate(False, [f"crypt{disk[-1]}"])
    g.cryptsetup_close(f"/dev/mapper/{name}")


def windows(g: Guestfs, disks: Sequence[str]) -> None:
    """Windows 10 after years of use: a registry of 60 MB, and as many files in a directory."""
    device = corpus.partition(g, disks[0])
    software = registry.with_filling(registry.software(), 60, 150)
    system = registry.system({"C": registry.mounted_in_gpt(g.part_get_gpt_guid(disks[0], 1))})
    corpus.ntfs(g, device, registry.windows_10(hives.write(software), hives.write(system), files=4000))


KINDS: dict[str, Kind] = {
    "Debian, GPT, ext4": Kind(gpt_ext4),
    "Debian, MBR, LVM, xfs and ext4": Kind(mbr_lvm),
    "Debian, btrfs subvolumes, whole disk": Kind(whole_btrfs),
    "Ubuntu 24.04, cloud layout": Kind(cloud),
    "Fedora 41, btrfs root and home, rpm": Kind(fedora),
    "RHEL 9, LVM, xfs, rpm": Kind(rhel),
    "Debian, MD RAID 1 of two disks": Kind(raid, disks=2),
    "Debian, LUKS, LVM in it": Kind(luks, key=PASSPHRASE),
    "Windows, ntfs": Kind(windows),
}


def disks() -> dict[str, list[Path]]:
    """Return each kind's disks; make those that do not exist yet or whose recipe has changed."""
    recipe = b"".join(
        Path(module.__file__ or "").read_bytes()
        for module in (sys.modules[__name__], hives, registry, rpm, trees)
    )
    directory = BUILD / f"kinds-{hashlib.sha256(recipe).hexdigest()[:16]}"
    directory.mkdir(parents=True, exist_ok=True)
    made = {}
    for name, kind in KINDS.items():
        stem = "".join(letter if letter.isalnum() else "-" for letter in name)
        made[name] = [directory / f"{stem}-{number}.img" for number in range(kind.disks)]
        if not all(path.exists() for path in made[name]):
            _make(kind, made[name])
    return made


def _make(kind: Kind, paths: Sequence[Path]) -> None:
    with tempfile.TemporaryDirectory(dir=paths[0].parent) as scratch, Guestfs() as g:
        new = [Path(scratch, path.name) for path in paths]
        for path in new:
            g.disk_create(path, "raw", 3 * GIB)
            g.add_drive(path, format="raw")
        g.launch()
        kind.build(g, g.list_devices())
        g.shutdown()
        for path, place in zip(new, paths, strict=True):
            os.replace(path, place)
