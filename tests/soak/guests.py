"""Guests of every layout, their files, metadata and headers changed at random, inspected both ways."""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
import unicodedata
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from guestkit import (
    ApplianceCrashed,
    CallTimeout,
    Error,
    Guestfs,
    HandleOptions,
    Inspection,
    Key,
    LaunchError,
    Report,
    open_guest,
)
from guestkit.cli.inspection_text import render_reports
from guestkit.guest import mount_guest
from guestkit.inspection import ALL_PARTS, Mode, json_schema
from tests import schemas
from tests.images.corpus import PASSPHRASE, images
from tests.soak import mutate
from tests.soak.case import Case, expect

ABOUT = "guests of every layout, their files, metadata and headers changed, inspected both ways"
LIMIT = 900.0

#: The guests of tests/images that are changed, and the text of the keys for those that need one.
BASES = {
    **dict.fromkeys(
        ("debian", "ubuntu", "lvm", "xfs", "btrfs", "windows 10", "windows 2003", "raid", "old raid",
         "whole disk", "rocky with packages", "alpine", "arch", "silverblue", "subvolumes on a whole disk",
         "snapper", "thin lvm", "partitions of an array", "dirty", "attack", "leap", "nixos", "flatcar",
         "freebsd", "ubuntu cloud"),
        "",
    ),
    "luks": PASSPHRASE,
    "lvm in luks": PASSPHRASE,
}  # fmt: skip
#: The root of those that have several systems, which older releases of libguestfs call their snapshots.
ROOTS = {"snapper": "/dev/sda1"}
CONTAINERS = ("qcow2", "vmdk", "vhdx", "vdi", "vpc", "qed", "qcow")

#: What guestkit or libguestfs reads of a guest.
TEXTS = (
    "/etc/os-release", "/usr/lib/os-release", "/etc/lsb-release", "/etc/debian_version",
    "/etc/redhat-release", "/etc/fedora-release", "/etc/rocky-release", "/etc/system-release",
    "/etc/alpine-release", "/etc/arch-release", "/etc/fstab", "/etc/mdadm.conf", "/etc/mdadm/mdadm.conf",
    "/etc/crypttab", "/etc/hostname", "/etc/HOSTNAME", "/etc/sysconfig/network", "/etc/passwd",
    "/etc/machine-id", "/etc/timezone", "/etc/localtime", "/etc/default/locale", "/etc/locale.conf",
    "/etc/network/interfaces", "/etc/netplan/50-cloud-init.yaml", "/etc/systemd/network/10-eth.network",
    "/etc/sysconfig/network/ifcfg-eth0", "/etc/sysconfig/network-scripts/ifcfg-eth0",
    "/etc/NetworkManager/system-connections/eth0.nmconnection", "/var/lib/dpkg/status",
    "/var/lib/dpkg/status.d/base", "/lib/apk/db/installed", "/var/lib/pacman/local/bash-5.2-1/desc",
    "/etc/freebsd-update.conf", "/etc/motd", "/etc/rc.conf", "/boot.ini", "/usr/lib/rpm/macros",
    "/usr/lib/rpm/rpmrc", "/boot/loader/entries/ostree-1-fedora.conf",
    "/boot/loader/entries/ostree-2-fedora.conf", "/usr/share/coreos/lsb-release",
)  # fmt: skip
BINARIES = (
    "/var/lib/rpm/rpmdb.sqlite", "/var/lib/rpm/rpmdb.sqlite-wal", "/var/lib/rpm/Packages.db",
    "/var/lib/rpm/Packages", "/usr/share/rpm/rpmdb.sqlite", "/usr/bin/bash", "/bin/sh", "/usr/bin/ls",
    "/bin/busybox", "/usr/bin/cp", "/Windows/System32/config/SOFTWARE", "/Windows/System32/config/SYSTEM",
    "/WINNT/system32/config/software", "/WINNT/system32/config/system", "/Windows/System32/cmd.exe",
    "/usr/share/pixmaps/debian-logo.png",
)  # fmt: skip
DIRECTORIES = (
    "/etc", "/bin", "/usr", "/usr/bin", "/var/lib/dpkg", "/var/lib/rpm", "/lib/apk/db", "/boot", "/lib",
    "/etc/systemd", "/etc/NetworkManager/system-connections", "/var/lib/pacman/local",
    "/Windows/System32/config", "/boot/loader/entries", "/ostree", "/nix/store",
)  # fmt: skip
KINDS = (
    "fifo", "directory", "loop", "link out", "link to a secret", "sparse", "character device",
    "block device", "socket", "empty", "gone",
)  # fmt: skip
#: Where symlinks lead.
TARGETS = (
    "/dev/zero",
    "/dev/urandom",
    "../../../../../proc/kmsg",
    "/proc/self/environ",
    "/sysroot",
    "/../init",
)

#: Bytes of a file that is changed in its content.
MOST = 100 << 20

#: Seconds for all of an inspection. What a guest can delay ends then; a busy host may need a part of it.
TIMEOUT = 120.0


def run(case: Case) -> None:
    """Change a guest, and inspect it."""
    name = case.random.choice(tuple(BASES))
    keys = [Key(BASES[name])] if BASES[name] else []
    for key in keys:
        case.hide(str(key.passphrase))
    disk = case.input / "disk.img"
    subprocess.run(["cp", "--sparse=always", images([name])[name], disk], check=True)
    case.tried(name)
    ways = case.random.choice(
        (("files",), ("files",), ("files",), ("bits",), ("bits",), ("container",), ("files", "bits"))
    )
    image_format = None
    if "files" in ways:
        _change_files(case, disk, keys, ROOTS.get(name))
    if "bits" in ways:
        case.tried(_change_bits(case.random, disk))
    if "container" in ways:
        disk = _contain(case, disk)
    elif case.random.random() < 0.5:
        image_format = "raw"
    examine(case, disk, image_format, keys, damaged="bits" in ways)


# ---- changes


def _change_files(case: Case, disk: Path, keys: list[Key], root: str | None) -> None:
    """Change some of the guest's files, by guestkit itself."""
    chance = case.random
    with open_guest(disk, readonly=False, format="raw", keys=keys, root=root) as g:
        here = [path for path in (*TEXTS, *BINARIES) if g.is_file(path, followsymlinks=True)]
        for _ in range(chance.choice((1, 1, 2, 3, 6))):
            way = chance.random()
            if way < 0.55 and here:
                _change_content(case, g, chance.choice(here))
            elif way < 0.9:
                _change_kind(case, g, chance.choice((*here, *here, *TEXTS)))
            else:
                _change_kind(
                    case, g, chance.choice([path for path in DIRECTORIES if g.exists(path)] or ["/etc"])
                )


def _change_content(case: Case, g: Guestfs, path: str) -> None:
    try:
        if not g.is_file(path, followsymlinks=True) or g.filesize(path) > MOST:
            return case.tried(f"{path} not changed (an earlier change made it something else)")
        content = g.read_file(path)
        binary = path in BINARIES or case.random.random() < 0.2
        changed, how = (mutate.bits if binary else mutate.text)(case.random, content)
        g.write(path, changed)
        case.tried(f"{path} {how}")
    except Error as error:  # an earlier change took it away
        case.tried(f"{path} not changed ({error.message[:60]})")


def _change_kind(case: Case, g: Guestfs, path: str) -> None:
    kind = case.random.choice(KINDS)
    try:
        g.mkdir_p(os.path.dirname(path))
        g.rm_rf(path)
        _make(case, g, path, kind)
        case.tried(f"{path} {kind}")
    except Error as error:  # a filesystem without such files, or no room
        case.tried(f"{path} no {kind} ({error.message[:60]})")


def _make(case: Case, g: Guestfs, path: str, kind: str) -> None:
    if kind == "fifo":
        g.mkfifo(0o644, path)
    elif kind == "directory":
        g.mkdir(path)
    elif kind == "loop":
        g.ln_s(os.path.basename(path), path)
    elif kind == "link out":
        g.ln_s(case.random.choice(TARGETS), path)
    elif kind == "link to a secret":
        secret = case.input / "host-secret"
        secret.write_text(case.secret(), encoding="utf-8")
        g.ln_s(secret, path)
    elif kind == "sparse":
        g.touch(path)
        g.truncate_size(path, 1 << 30)
    elif kind == "character device":
        g.mknod_c(0o666, 1, case.random.choice((5, 9)), path)
    elif kind == "block device":
        g.mknod_b(0o666, 8, 0, path)
    elif kind == "socket":
        g.mknod(0o140644, 0, 0, path)
    elif kind == "empty":
        g.touch(path)


def _extents(disk: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield where the disk has data."""
    at = 0
    while at < end:
        try:
            start = os.lseek(disk, at, os.SEEK_DATA)
        except OSError:
            return
        at = os.lseek(disk, start, os.SEEK_HOLE)
        yield start, at


def _change_bits(chance: random.Random, path: Path) -> str:
    """Change metadata on the disk: mostly where partitions and what is in them begin."""
    told = []
    with path.open("r+b") as file:
        end = path.stat().st_size
        data = [
            start + block
            for start, stop in _extents(file.fileno(), end)
            for block in range(0, stop - start, 4096)
        ]
        heads = [at for at in data if at % (1 << 20) < 1 << 17] or data
        start = bytearray(file.read(64 << 10))
        if start[512:520] == b"EFI PART" and chance.random() < 0.4:
            told.append(mutate.gpt(chance, start))
            file.seek(0)
            file.write(start)
        for _ in range(chance.choice((1, 2, 5, 20))):
            at = chance.choice(chance.choice((heads, heads, data)))
            file.seek(at)
            changed, how = mutate.bits(chance, file.read(4096))
            file.seek(at)
            file.write(changed.ljust(4096, b"\0"))
            told.append(f"{at:#x}: {how}")
        file.truncate(end)
    if chance.random() < 0.1:
        os.truncate(path, chance.randrange(end // 512) * 512)
        told.append("cut")
    return "; ".join(told[:3]) + (f"; and {len(told) - 3} more places" if len(told) > 3 else "")


def _contain(case: Case, disk: Path) -> Path:
    """Put the disk into another format, and change that one's header or tables."""
    kind = case.random.choice(CONTAINERS)
    made = disk.with_suffix(f".{kind}")
    subprocess.run(["qemu-img", "convert", "-q", "-f", "raw", "-O", kind, disk, made], check=True)
    disk.unlink()
    size = case.random.choice((512, 4096, 1 << 16, 1 << 20))
    with made.open("r+b") as file, Guestfs() as g:
        at = 0
        if case.random.random() < 0.1:
            at = max(0, made.stat().st_size - size)  # VHD and VMDK have a footer
        file.seek(at)
        content = file.read(size)
        for _ in range(15):  # only the last one is launched
            changed, how = mutate.bits(case.random, content)
            file.seek(at)
            file.write(changed.ljust(len(content), b"\0"))
            file.flush()
            for stated in (kind, None):
                with suppress(Error):
                    g.open_disk(made, format=stated)
    case.tried(f"{kind}, {how}")
    return made


# ---- what must hold


def examine(case: Case, disk: Path, image_format: str | None, keys: list[Key], *, damaged: bool) -> None:
    """Inspect the disk both ways and mount it: each ends in time, by a report or an error.

    damaged: filesystems are, so that the appliance's kernel may hang or crash
    """
    expected = "neither a file nor an image's header crashes or delays the appliance"
    try:
        with Guestfs(
            HandleOptions(
                appliance="inspection", call_timeout=TIMEOUT, cancel_grace=0.0, sandbox=case.sandbox
            )
        ) as g:
            g.open_disk(disk, format=image_format)
            g.launch()
            check_sandbox(case, g)
            outside = _mounts_outside(g)
            for mode in ("auto", "libguestfs"):
                _inspect(case, g, keys, mode)
                _look_around(g, outside)
            _mount(case, g, keys)
            _look_around(g, outside)
    except (ApplianceCrashed, CallTimeout) as error:  # a crash is also what guestkit ends because of a limit
        case.tried(f"{error.op}: {type(error).__name__}")
        expect(damaged, expected, f"{type(error).__name__}: {error.message}")
    except Error as error:
        case.tried(f"{error.op}: {error.message[:100]}")
        plain = disk.suffix == ".img"  # no other format, whose headers are changed
        expect(not (plain and isinstance(error, LaunchError)), "a raw disk is launched", error.message)


def check_sandbox(case: Case, g: Guestfs) -> None:
    info = g.launch_info()
    assert info is not None
    shut_in = "landlock" in info.sandbox
    expect(shut_in == (case.sandbox == "strict"), f"QEMU is confined as {case.sandbox!r} says", info.sandbox)


def _inspect(case: Case, g: Guestfs, keys: list[Key], mode: Mode) -> None:
    begun = time.monotonic()
    try:
        # Only libguestfs' way knows icons: whoever asks for them never has guestkit's own rules.
        parts = [part for part in ALL_PARTS if part != "icon" or mode == "libguestfs"]
        found = g.inspect(parts=parts, keys=keys, mode=mode)
    finally:
        took = time.monotonic() - begun
        expect(took < TIMEOUT + 30, f"the inspection ends within {TIMEOUT:g} s", f"it took {took:.0f} s")
    case.tried(f"{found.provenance.way}, {len(found.operating_systems)} systems in {took:.1f} s")
    _check(case, found, mode)


def _check(case: Case, found: Inspection, mode: str) -> None:
    """Check that the result can be written in every form, and that a terminal may show it."""
    text = json.dumps(found.to_dict())
    (case.output / f"{mode}.json").write_text(text, encoding="utf-8")
    assert schemas.faults(json.loads(text), json_schema()) == []
    ElementTree.fromstring(found.to_xml().encode())
    shown = render_reports([Report(disk="disk", disks=("disk",), inspection=found)])
    (case.output / f"{mode}.txt").write_text(shown, encoding="utf-8", errors="surrogatepass")
    odd = {letter for letter in shown if unicodedata.category(letter) in ("Cc", "Cs") and letter != "\n"}
    expect(not odd, "a terminal can show the report", f"it has {odd}")


def _mount(case: Case, g: Guestfs, keys: list[Key]) -> None:
    try:
        mounted = mount_guest(g, keys=keys)
    except (ApplianceCrashed, CallTimeout):
        raise
    except Error as error:
        case.tried(f"not mounted: {error.message[:60]}")
        return
    case.tried(f"{len(mounted.mountpoints)} mounted")


def _mounts_outside(g: Guestfs) -> set[str]:
    """Return what is mounted in the appliance outside of the guest's root."""
    lines = g.debug("sh", ["cat /proc/mounts"]).splitlines()
    return {
        place
        for line in lines
        if (place := line.split()[1]) != "/sysroot" and not place.startswith("/sysroot/")
    }


def _look_around(g: Guestfs, outside: set[str]) -> None:
    """Check that nothing of the guest is mounted in the appliance's own tree, or ran there."""
    now = _mounts_outside(g)
    expect(now == outside, "nothing is mounted outside the guest's root", now ^ outside)
    traces = g.debug("sh", ["ls -d /owned /sysroot/owned 2>/dev/null || true"]).split()
    expect(not traces, "no program of the guest runs", traces)
