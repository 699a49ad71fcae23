"""Fleets of guests that were never inspected, for reports: alike as fleets are, with failures in them."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from guestkit import Inspection, Report
from guestkit.demo import DEMO_SYSTEM
from guestkit.fleet import Failure
from guestkit.inspection import (
    Application,
    Disk,
    Filesystem,
    Layer,
    OperatingSystem,
    PartFailure,
    Partition,
    UnopenedFilesystem,
)
from tests.inspections import NOTHING_FOUND

MB = 1 << 20
GB = 1 << 30

#: os-release's ID, VERSION_ID and PRETTY_NAME, and the package format; more of the first ones.
SYSTEMS = (
    ("debian", "12", "Debian GNU/Linux 12 (bookworm)", "deb"),
    ("debian", "13", "Debian GNU/Linux 13 (trixie)", "deb"),
    ("ubuntu", "24.04", "Ubuntu 24.04.3 LTS", "deb"),
    ("ubuntu", "20.04", "Ubuntu 20.04.6 LTS", "deb"),
    ("rhel", "9.4", "Red Hat Enterprise Linux 9.4 (Plow)", "rpm"),
    ("almalinux", "8.10", "AlmaLinux 8.10 (Cerulean Leopard)", "rpm"),
    ("centos", "7", "CentOS Linux 7 (Core)", "rpm"),
    ("fedora", "43", "Fedora Linux 43 (Server Edition)", "rpm"),
    ("alpine", "3.22.1", "Alpine Linux v3.22", "apk"),
    ("opensuse-leap", "15.6", "openSUSE Leap 15.6", "rpm"),
    ("arch", "", "Arch Linux", "pacman"),
    ("slackware", "15.0", "Slackware 15.0", "unknown"),
)

ROLES = ("web", "db", "cache", "mail", "build", "git", "proxy", "queue", "search", "backup")
STEMS = (
    "acl", "apt", "bash", "bind", "bzip2", "coreutils", "cron", "curl", "dbus", "e2fsprogs", "expat", "file",
    "gawk", "git", "glibc", "gnupg", "grep", "gzip", "krb5", "less", "libxml2", "linux", "lvm2", "nano",
    "ncurses", "nftables", "nginx", "openssh", "openssl", "pam", "perl", "postgresql", "python3", "readline",
    "rsync", "sed", "shadow", "sqlite", "sudo", "systemd", "tar", "tzdata", "udev", "util-linux", "vim", "xz",
)  # fmt: skip
KINDS = ("", "-common", "-libs", "-dev", "-doc", "-data", "-utils", "-server", "-client", "-tools")

FAILURES = (
    Failure(
        kind="Error", message="{disk}: the disk is locked by another process", errno=11, op="open_disk",
        cause="disk_locked", hint="shut its guest down, or end that in another way",
    ),
    Failure(
        kind="Error", message="{disk}: begins with text, and is no disk", errno=22, op="open_disk",
        cause="not_a_disk", hint="if it is a disk after all, state --format raw",
    ),
    Failure(
        kind="CallTimeout", message="{disk}: took longer than 300 seconds", errno=110, op="inspect",
        cause="call_timeout",
    ),
)  # fmt: skip


def fleet(count: int, *, packages: int = 300, seed: int = 1) -> list[Report]:
    """Return the reports of that many guests, the same ones each time."""
    chance = random.Random(seed)
    return [_report(number, packages, chance) for number in range(count)]


def _report(number: int, packages: int, chance: random.Random) -> Report:
    role = ROLES[number % len(ROLES)]
    disk = f"/srv/images/{role}-{number // len(ROLES) + 1}.qcow2"
    if number % 17 == 7:
        failure = FAILURES[number // 17 % len(FAILURES)]
        failure = replace(failure, message=failure.message.format(disk=disk))
        return Report(disk=disk, disks=(disk,), error=failure, seconds=0.3)
    if number % 13 == 5:
        inspection = _windows(number, chance)
    else:
        inspection = _linux(number, f"{role}{number // len(ROLES) + 1}.example.org", packages, chance)
    if number % 23 == 9:
        shut = UnopenedFilesystem(
            device="/dev/sdb1", type="crypto_LUKS", uuid=f"{number:08x}-0000", reason="encrypted",
            message="no key that was given opens it",
        )  # fmt: skip
        inspection = replace(inspection, unopened=(shut,))
    return Report(disk=disk, disks=(disk,), inspection=inspection, seconds=1.5)


def _linux(number: int, hostname: str, packages: int, chance: random.Random) -> Inspection:
    kind = min(int(chance.expovariate(0.35)), len(SYSTEMS) - 1)
    distribution, version, name, package_format = SYSTEMS[kind]
    size = chance.choice((10, 20, 40, 100)) * GB
    used = chance.uniform(0.05, 0.97)
    make = (_plain, _volumes, _mirrored)[number % 3]
    inspection, mountpoints = make(size, used)
    system = replace(
        DEMO_SYSTEM,
        root=mountpoints["/"],
        distro=distribution,
        hostname=hostname,
        package_format=package_format,
        mountpoints=mountpoints,
        filesystems=tuple(mountpoints.values()),
        os_release={"ID": distribution, "VERSION_ID": version, "PRETTY_NAME": name},
        applications=_applications(packages, kind, chance),
    )
    if number % 29 == 11:
        failure = PartFailure(
            part="applications", message="the database is damaged: page 7 of 40", op="", errno=0
        )
        system = replace(system, applications=(), applications_complete=False, failures=(failure,))
    return replace(inspection, operating_systems=(system,))


def _applications(count: int, system: int, chance: random.Random) -> tuple[Application, ...]:
    names = [f"{stem}{kind}" for kind in KINDS for stem in STEMS]
    arch = "amd64" if SYSTEMS[system][3] == "deb" else "x86_64"
    base = replace(DEMO_SYSTEM.applications[0], epoch=0, arch=arch)
    return tuple(
        replace(
            base,
            name=name,
            version=f"{1 + system}.{place % 10}.{place % 7}",
            release=f"{chance.choice((1, 1, 1, 2))}",
        )
        for place, name in enumerate(names[:count])
    )


def part(device: str, number: int, start: int, size: int, name: str = "") -> Partition:
    """Return a partition of a GPT."""
    return Partition(
        device=f"{device}{number}", disk=device, number=number, start=start, size=size, scheme="gpt",
        type="0fc63daf-8483-4772-8e79-3d69d8477de4", uuid="", name=name,
    )  # fmt: skip


def holds(device: str, type: str, size: int | None, used: float | None, label: str = "") -> Filesystem:
    """Return a filesystem of which that share is used."""
    full = None if size is None or used is None else int(size * used)
    return Filesystem(device=device, type=type, label=label, uuid="", size=size, used=full)


Made = tuple[Inspection, dict[str, str]]


def _plain(size: int, used: float) -> Made:
    """A disk with a boot loader's partition, an EFI system partition, swap and a root."""
    inspection = replace(
        NOTHING_FOUND,
        disks=(Disk(device="/dev/sda", format="qcow2", virtual_size=size),),
        partitions=(
            part("/dev/sda", 1, MB, MB, "BIOS boot"),
            part("/dev/sda", 2, 2 * MB, 512 * MB, "EFI system"),
            part("/dev/sda", 3, 514 * MB, 1024 * MB),
            part("/dev/sda", 4, 1538 * MB, size - 1539 * MB),
        ),
        filesystems=(
            holds("/dev/sda2", "vfat", 512 * MB, 0.03, "EFI"),
            holds("/dev/sda3", "swap", None, None),
            holds("/dev/sda4", "ext4", size - 2 * GB, used, "root"),
        ),
    )
    return inspection, {"/": "/dev/sda4", "/boot/efi": "/dev/sda2"}


def _volumes(size: int, used: float) -> Made:
    """Two disks, and a volume group on both."""
    second = size // 2
    inspection = replace(
        NOTHING_FOUND,
        disks=(
            Disk(device="/dev/sda", format="qcow2", virtual_size=size),
            Disk(device="/dev/sdb", format="qcow2", virtual_size=second),
        ),
        partitions=(
            part("/dev/sda", 1, MB, GB),
            part("/dev/sda", 2, GB + MB, size - GB - 2 * MB),
            part("/dev/sdb", 1, MB, second - 2 * MB),
        ),
        layers=(
            Layer(
                kind="lvm", name="system", uuid="", level="", members=("/dev/sda2", "/dev/sdb1"),
                devices=("/dev/system/root", "/dev/system/swap", "/dev/system/var", "/dev/system/home"),
            ),
        ),
        filesystems=(
            holds("/dev/sda1", "ext4", GB, 0.2, "boot"),
            holds("/dev/system/root", "xfs", size // 3, used),
            holds("/dev/system/swap", "swap", None, None),
            holds("/dev/system/var", "xfs", size // 2, min(used * 1.02, 1)),
            holds("/dev/system/home", "xfs", size // 5, 0.1),
        ),
    )  # fmt: skip
    names = {"/": "root", "/var": "var", "/home": "home"}
    mountpoints = {place: f"/dev/system/{name}" for place, name in names.items()}
    return inspection, {**mountpoints, "/boot": "/dev/sda1"}


def _mirrored(size: int, used: float) -> Made:
    """Two disks as a mirror, encrypted, with btrfs on it."""
    disks = ("/dev/sda", "/dev/sdb")
    inspection = replace(
        NOTHING_FOUND,
        disks=tuple(Disk(device=device, format="raw", virtual_size=size) for device in disks),
        partitions=tuple(
            one
            for device in disks
            for one in (part(device, 1, MB, GB), part(device, 2, GB + MB, size - GB - 2 * MB))
        ),
        layers=(
            Layer(
                kind="md", name="data", uuid="", level="raid1", members=("/dev/sda2", "/dev/sdb2"),
                devices=("/dev/md127",),
            ),
            Layer(
                kind="luks", name="", uuid="", level="", members=("/dev/md127",),
                devices=("/dev/mapper/luks-1",),
            ),
        ),
        filesystems=(
            holds("/dev/sda1", "ext4", GB, 0.3, "boot"),
            holds("/dev/mapper/luks-1", "btrfs", size - 2 * GB, used, "pool"),
            holds("btrfsvol:/dev/mapper/luks-1/@", "btrfs", size - 2 * GB, used),
            holds("btrfsvol:/dev/mapper/luks-1/@home", "btrfs", size - 2 * GB, used),
        ),
    )  # fmt: skip
    volume = "btrfsvol:/dev/mapper/luks-1/"
    return inspection, {"/": f"{volume}@", "/home": f"{volume}@home", "/boot": "/dev/sda1"}


WINDOWS: Sequence[tuple[str, str]] = (
    ("Windows Server 2022 Standard", "20348"),
    ("Windows Server 2012 R2 Standard", "9600"),
    ("Windows 10 Pro", "22631"),
)


def _windows(number: int, chance: random.Random) -> Inspection:
    size = 60 * GB
    product, build = WINDOWS[number // 13 % len(WINDOWS)]
    base = replace(DEMO_SYSTEM.applications[0], epoch=0, release="", arch="", publisher="Mozilla")
    programs = (
        "Mozilla Firefox (x64)",
        "7-Zip 24.09",
        "Notepad++ (64-bit)",
        "PuTTY release 0.81",
        "VirtIO drivers",
    )
    system: OperatingSystem = replace(
        DEMO_SYSTEM,
        root="/dev/sda3",
        type="windows",
        distro="windows",
        product_name=product,
        build_id=build,
        hostname=f"WIN-{number:04}",
        package_format="unknown",
        package_management="unknown",
        mountpoints={"/": "/dev/sda3"},
        drive_mappings={"C": "/dev/sda3"},
        os_release={},
        applications=tuple(
            replace(base, name=f"{{{place}}}", display_name=name, version=f"{100 + number % 4}.{place}")
            for place, name in enumerate(programs)
        ),
    )
    return replace(
        NOTHING_FOUND,
        disks=(Disk(device="/dev/sda", format="vhdx", virtual_size=size),),
        partitions=(
            part("/dev/sda", 1, MB, 100 * MB, "EFI system partition"),
            part("/dev/sda", 2, 101 * MB, 16 * MB, "Microsoft reserved partition"),
            part("/dev/sda", 3, 117 * MB, size - 700 * MB, "Basic data partition"),
            part("/dev/sda", 4, size - 583 * MB, 582 * MB),
        ),
        filesystems=(
            holds("/dev/sda1", "vfat", 96 * MB, 0.3),
            holds("/dev/sda3", "ntfs", size - 700 * MB, chance.uniform(0.2, 0.98), "Windows"),
            holds("/dev/sda4", "ntfs", 582 * MB, 0.85, "Recovery"),
        ),
        operating_systems=(system,),
    )


# ---- what a guest can say

EVIL = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "</style></title></textarea></template>",
    "<!--",
    "]]>",
    "\"' onmouseover=alert(1) x='",
    "javascript:alert(1)",
    "\x1b]0;owned\x07\x00\r\n\x85\u2028\u2029",
    "\udcff\udc80\ud800",
    "\u202egpj.exe\u200b\ufeff",
    "{{ 7*7 }}{% raw %}${7*7}",
    "&lt;b&gt;&#x3c;",
    "x" * 100_000,
    "",
)

#: The fields that hold a drawing together.
_TIES = ("device", "devices", "members", "disk", "disks")


def hostile_fleet() -> list[Report]:
    """Return guests that say one of these texts wherever they can, with and without a layout that holds."""
    failure = PartFailure(part="users", message="", op="", errno=0)
    reports = []
    for one in fleet(13, packages=2):
        if one.inspection is not None:
            (system,) = one.inspection.operating_systems
            systems = (replace(system, failures=(failure,)),)
            inspection = replace(one.inspection, operating_systems=systems, failures=(failure,))
            reports.append(replace(one, inspection=inspection))
        else:
            reports.append(one)
    return [_saying(one, text, kept) for text in EVIL for one in reports for kept in ((), _TIES)]


def _saying(value: Any, text: str, kept: Collection[str]) -> Any:
    """Return the value with that text in place of each of its texts, but for these fields."""
    if isinstance(value, str):
        return text
    if is_dataclass(value) and not isinstance(value, type):
        old = {one.name: getattr(value, one.name) for one in fields(value) if one.init}
        new = {name: one if name in kept else _saying(one, text, kept) for name, one in old.items()}
        return type(value)(**new)
    if isinstance(value, tuple):
        return tuple(_saying(one, text, kept) for one in value)
    if isinstance(value, dict):
        return {key: _saying(one, text, kept) for key, one in value.items()} | {text: text}
    return value
