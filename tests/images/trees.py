"""The files of guests: few, but in the layout of the real distributions."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Link:
    """A symlink."""

    target: str


class Fifo:
    """A FIFO, on which no reader may block."""


File = str | bytes | Link | Fifo | None  # None: a directory
Tree = Mapping[str, File]

X86_64, I386, AARCH64 = (2, 62), (1, 3), (2, 183)


def elf(machine: tuple[int, int] = X86_64) -> bytes:
    """Return the header of an ELF program, without the rest."""
    width, number = machine
    identity = b"\x7fELF" + bytes([width, 1, 1]) + bytes(9)
    if width == 1:
        return struct.pack("<16sHHIIIIIHHHHHH", identity, 2, number, 1, 0, 0, 0, 0, 52, 32, 0, 40, 0, 0)
    return struct.pack("<16sHHIQQQIHHHHHH", identity, 2, number, 1, 0, 0, 0, 0, 64, 56, 0, 64, 0, 0)


def marker(path: str) -> bytes:
    """Return a static x86-64 program that makes the directory `path`, which shows whether it was run."""
    code = (
        b"\xb8\x53\x00\x00\x00"  # mov $83 (mkdir), %eax
        b"\x48\x8d\x3d\x10\x00\x00\x00"  # lea path(%rip), %rdi
        b"\xbe\xed\x01\x00\x00"  # mov $0755, %esi
        b"\x0f\x05"  # syscall
        b"\xb8\x3c\x00\x00\x00"  # mov $60 (exit), %eax
        b"\x31\xff"  # xor %edi, %edi
        b"\x0f\x05"  # syscall
    )
    body = code + path.encode() + b"\0"
    identity, base, size = b"\x7fELF\x02\x01\x01" + bytes(9), 0x400000, 64 + 56
    header = struct.pack("<16sHHIQQQIHHHHHH", identity, 2, 62, 1, base + size, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    whole = size + len(body)
    return header + struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, whole, whole, 0x1000) + body


def linux(machine: tuple[int, int] = X86_64, *, merged: bool = True) -> dict[str, File]:
    """Return the files of every Linux. merged: /bin is a link to usr/bin."""
    programs = "usr/bin" if merged else "bin"
    tree: dict[str, File] = {
        f"{programs}/bash": elf(machine),
        f"{programs}/ls": elf(machine),
        f"{programs}/sh": Link("bash"),
        "etc/hosts": "127.0.0.1 localhost\n",
        "etc/passwd": "root:x:0:0:root:/root:/bin/bash\nuser:x:1000:1000:A User,,,:/home/user:/bin/sh\n",
        "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
        "etc/localtime": Link("/usr/share/zoneinfo/Europe/Berlin"),
        "etc/os-release": Link("../usr/lib/os-release"),
        "etc/systemd/system/multi-user.target.wants/ssh.service": Link("/lib/systemd/system/ssh.service"),
        "usr/lib/modules/6.1.0-18/modules.dep": "",
        "boot/vmlinuz-6.1.0-18": b"kernel",
        "boot/initrd.img-6.1.0-18": b"initrd",
        **dict.fromkeys(("dev", "home", "proc", "root", "run", "sys", "tmp", "usr/local", "usr/share")),
        **dict.fromkeys(("usr/src", "var/log", "var/spool", "var/cache")),
    }
    if merged:
        tree |= {"bin": Link("usr/bin"), "lib": Link("usr/lib"), "sbin": Link("usr/sbin"), "usr/sbin": None}
    return tree


def release(**values: str) -> dict[str, str]:
    """Return an os-release file."""
    return {"usr/lib/os-release": "".join(f'{key}="{value}"\n' for key, value in values.items())}


def dpkg_status(count: int = 40) -> str:
    """Return a package database with the oddities of real ones."""
    stanzas = [
        f"Package: package{number:03}\nStatus: install ok installed\nPriority: optional\n"
        f"Maintainer: Nobody <nobody@example.org>\nArchitecture: {'all' if number % 3 else 'amd64'}\n"
        f"Source: source{number // 2} (1.{number})\n"
        f"Version: {'1:' if number % 5 == 0 else ''}{number}.2-{number}+b1\n"
        f"Description: the {number}. package\n with a second line\n .\n and a third\n"
        f"Homepage: https://example.org/{number}\n"
        for number in range(count)
    ]
    stanzas += [
        "Package: removed\nStatus: deinstall ok config-files\nVersion: 1-1\nArchitecture: all\n",
        "Package: purged\nStatus: purge ok not-installed\nVersion: 2\nArchitecture: all\n",
        "Package: zlib1g\nStatus: install ok installed\nVersion: 1:1.2-1\nArchitecture: amd64\n",
        "Package: zlib1g\nStatus: install ok installed\nVersion: 1:1.2-1\nArchitecture: i386\n",
        "Package: without-version\nStatus: install ok installed\nArchitecture: all\n",
        "Package: long\nStatus: install ok installed\nVersion: 3\n"
        f"Depends: {'x' * 1500}\nDescription: {'y' * 3000}\n",
        f"Package: nasty\nStatus: install ok installed\nVersion: 4\nDepends: {'x' * 1014}Package: evil\n",
        "Package: escape\x1b[31m\nStatus: install ok installed\nVersion: 5\nDescription: \xff\n \n no dot\n",
        "",  # an empty line follows each
    ]
    return "\n".join(stanzas)


def apk_installed() -> str:
    """Return Alpine's package database."""
    return "".join(
        f"C:Q1abc=\nP:{name}\nV:{version}\nA:x86_64\nS:1\nT:the {name}\nU:https://{name}.example\no:{name}\n"
        f"F:usr/bin\nR:{name}\n\n"
        for name, version in (("musl", "1.2.4-r2"), ("busybox", "1.36.1-r15"), ("epoch", "2:1.0-r0"))
    )


def debian(**changes: File) -> Tree:
    """Debian 12, whose os-release has only the major version."""
    return {
        **linux(),
        **release(PRETTY_NAME="Debian GNU/Linux 12 (bookworm)", NAME="Debian", VERSION_ID="12", ID="debian"),
        "etc/debian_version": "12.5\n",
        "etc/hostname": "debian12\n",
        "etc/network/interfaces": (
            "auto eth0\niface eth0 inet static\n  address 192.0.2.2/24\n  gateway 192.0.2.1\n"
        ),
        "etc/timezone": "Europe/Berlin\n",
        "etc/default/locale": "LANG=de_DE.UTF-8\n",
        "etc/fstab": "UUID=11111111-2222-3333-4444-555555555555 / ext4 errors=remount-ro 0 1\n",
        "var/lib/dpkg/status": dpkg_status().encode("latin-1"),
        **changes,
    }


def ubuntu() -> Tree:
    """Ubuntu 22.04 with separate partitions for /boot and EFI."""
    return {
        **linux(),
        **release(
            PRETTY_NAME="Ubuntu 22.04.4 LTS", NAME="Ubuntu", VERSION_ID="22.04", ID="ubuntu", ID_LIKE="debian"
        ),
        "etc/lsb-release": "DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=22.04\nDISTRIB_DESCRIPTION=Ubuntu\n",
        "etc/debian_version": "bookworm/sid\n",
        "etc/hostname": "# a comment\n\nubuntu\n",
        "etc/fstab": (
            "# a comment\n#\nLABEL=root / ext4 defaults 0 1\nLABEL=boot\t/boot\text4\tdefaults\t0\t2\n"
            "/dev/sda1 /boot/efi vfat umask=0077 0 1\nproc /proc proc defaults 0 0\n"
            "tmpfs /tmp tmpfs nosuid,size=10% 0 0\n/swapfile none swap sw 0 0\n"
            "/dev/fd0 /media/floppy auto rw 0 0\n"
            "PARTUUID=1234-02 /data ext4 nofail 0 2\n"
        ),
        "etc/netplan/50-cloud-init.yaml": "network: {version: 2}\n",
        "etc/systemd/network/10-eth.network": "[Match]\nName=eth*\n[Network]\nDHCP=yes\nDNS=192.0.2.53\n",
        "var/lib/dpkg/status": dpkg_status(5),
        "boot": None,
    }


def without_usr(tree: Tree) -> tuple[Tree, Tree]:
    """Split the tree into the filesystem of the root and that of /usr."""
    root = {name: file for name, file in tree.items() if not name.startswith("usr/")}
    return {**root, "usr": None}, {
        name.removeprefix("usr/"): file for name, file in tree.items() if name.startswith("usr/")
    }


def red_hat(identity: str, name: str, version: str, line: str, file: str, **more: File) -> Tree:
    """A distribution of Red Hat's family, whose release file has that line."""
    return {
        **linux(),
        **release(
            NAME=name, VERSION=version, ID=identity, VERSION_ID=version, PRETTY_NAME=f"{name} {version}"
        ),
        f"etc/{file}": f"{line}\n",
        "etc/redhat-release": f"{line}\n",
        "etc/hostname": f"{identity}\n",
        "etc/fstab": "LABEL=root / ext4 defaults 1 1\n",
        "etc/locale.conf": 'LANG="en_US.UTF-8"\n',
        "usr/bin/dnf": "#!/usr/bin/python3\n",
        "etc/NetworkManager/system-connections/eth0.nmconnection": (
            "[connection]\nid=eth0\ninterface-name=eth0\n[ipv4]\nmethod=manual\n"
            "address1=192.0.2.3/24,192.0.2.1\ndns=192.0.2.53;\n"
        ),
        **more,
    }


def suse(identity: str, name: str, version: str, **more: File) -> Tree:
    return {
        **linux(),
        **release(
            NAME=name, VERSION=version, ID=identity, VERSION_ID=version, PRETTY_NAME=f"{name} {version}"
        ),
        "etc/HOSTNAME": f"{identity}\n",
        "etc/fstab": "LABEL=root / ext4 defaults 1 1\n",
        "etc/sysconfig/network/ifcfg-eth0": "BOOTPROTO='dhcp'\nSTARTMODE='auto'\n",
        **more,
    }


def alpine() -> Tree:
    tree = {
        **linux(merged=False),
        **release(NAME="Alpine Linux", ID="alpine", VERSION_ID="3.19.1", PRETTY_NAME="Alpine Linux v3.19"),
        "etc/alpine-release": "3.19.1\n",
        "etc/hostname": "alpine\n",
        "etc/fstab": "/dev/sda1\t/\text4\trw,relatime 0 1\n/dev/cdrom\t/media/cdrom\tiso9660\tro 0 0\n",
        "bin/busybox": elf(),
        "bin/ls": Link("/bin/busybox"),
        "bin/sh": Link("/bin/busybox"),
        "lib/apk/db/installed": apk_installed(),
        "etc/runlevels/default/sshd": Link("/etc/init.d/sshd"),
    }
    del tree["bin/bash"]
    return tree


def arch() -> Tree:
    return {
        **linux(),
        **release(NAME="Arch Linux", PRETTY_NAME="Arch Linux", ID="arch", BUILD_ID="rolling"),
        "etc/arch-release": "",
        "etc/hostname": "arch\n",
        "etc/fstab": "LABEL=root / ext4 rw,relatime 0 1\n",
        "var/lib/pacman/local/bash-5.2-1/desc": (
            "%NAME%\nbash\n\n%VERSION%\n1:5.2-1\n\n%DESC%\nthe shell\n\n%ARCH%\nx86_64\n\n%URL%\nhttps://x\n"
        ),
    }


def freebsd() -> Tree:
    return {
        "bin/sh": elf(),
        "bin/ls": elf(),
        "etc/freebsd-update.conf": "",
        "etc/fstab": "/dev/ada0p1 / ufs rw 1 1\n",
        "etc/motd": "FreeBSD 13.2-RELEASE (GENERIC)\n",
        "etc/rc.conf": 'hostname="freebsd"\n',
    }


def coreos_root() -> Tree:
    return {
        "etc/coreos/update.conf": "GROUP=stable\n",
        "etc/hostname": "coreos\n",
        **dict.fromkeys(("home", "root", "usr")),
    }


def coreos_usr() -> Tree:
    return {
        "bin/bash": elf(),
        "lib/os-release": 'NAME=CoreOS\nID=coreos\nVERSION_ID=1688.5.3\nPRETTY_NAME="CoreOS 1688.5.3"\n',
        "share/coreos/lsb-release": "DISTRIB_ID=CoreOS\n",
        **dict.fromkeys(("local", "src")),
    }


def unknown(identity: str, name: str, version: str, **more: File) -> Tree:
    """A distribution for which libguestfs has no name."""
    return {
        **linux(),
        **release(NAME=name, ID=identity, VERSION_ID=version, PRETTY_NAME=f"{name} {version}"),
        "etc/hostname": f"{identity}\n",
        "etc/fstab": "LABEL=root / ext4 defaults 1 1\n",
        **more,
    }


def neon() -> Tree:
    """KDE neon: Ubuntu's packages under another name."""
    tree = unknown("neon", "KDE neon", "22.04", **{"var/lib/dpkg/status": dpkg_status(3)})
    return {
        **tree,
        "etc/lsb-release": "DISTRIB_ID=neon\nDISTRIB_RELEASE=22.04\nDISTRIB_DESCRIPTION=neon\n",
    }


def nixos() -> Tree:
    """NixOS, where everything is a link into the store, even fstab and hosts."""
    names = ("os-release", "fstab", "hosts", "hostname")
    return {
        "bin/sh": Link("/nix/store/bash/bin/sh"),
        "nix/store/bash/bin/sh": elf(),
        "usr/bin/env": Link("/nix/store/bash/bin/sh"),
        "etc/static": Link("/nix/store/etc/etc"),
        **{f"etc/{name}": Link(f"/etc/static/{name}") for name in names},
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
        **{f"nix/store/etc/etc/{name}": Link(f"/nix/store/{name}") for name in names},
        "nix/store/os-release": 'ID=nixos\nVERSION_ID="24.05"\nPRETTY_NAME="NixOS 24.05 (Uakari)"\n',
        "nix/store/fstab": "LABEL=root / ext4 defaults 0 1\n",
        "nix/store/hosts": "127.0.0.1 localhost\n",
        "nix/store/hostname": "nixos\n",
        "nix/var/nix/db/db.sqlite": b"no database",
        **dict.fromkeys(("dev", "home", "proc", "root", "run", "sys", "tmp", "var")),
    }


def ostree(boot: str = "boot/") -> Tree:
    """Fedora Silverblue: two deployments, of which the boot loader takes the one that sorts first.

    boot: the directory of the boot loader's entries; "" if they are on another filesystem
    """
    deploy = "ostree/deploy/fedora/deploy"
    tree: dict[str, File] = {
        "ostree/boot.1": Link("boot.1.1"),
        "ostree/repo/config": "",
        **dict.fromkeys(("boot", "home", "root", "sysroot", "var", "ostree/deploy/fedora/var")),
        **(boot_entries(boot) if boot else {}),
    }
    for number, (name, version) in enumerate((("aaaa.0", "40"), ("bbbb.0", "39"))):
        system = red_hat("fedora", "Fedora Linux", version, f"Fedora release {version}", "fedora-release")
        tree |= {f"{deploy}/{name}/{file}": content for file, content in system.items()}
        tree |= {
            f"{deploy}/{name}/etc/hostname": f"silverblue{version}\n",
            f"{deploy}/{name}/usr/share/rpm/rpmdb.sqlite": b"no database",
            f"{deploy}/{name}.origin": "[origin]\n",
            f"ostree/boot.1.1/fedora/kernel/{number}": Link(f"../../../deploy/fedora/deploy/{name}"),
        }
    return tree


def boot_entries(directory: str = "") -> Tree:
    """Return the boot loader entries that ostree writes: the one with the higher version is the default."""
    return {
        f"{directory}loader/entries/ostree-{2 - number}-fedora.conf": (
            f"title Fedora\nversion {2 - number}\nlinux /vmlinuz\n"
            f"options root=LABEL=root ostree=/ostree/boot.1/fedora/kernel/{number} rw\n"
        )
        for number in range(2)
    }


def flatcar_usr(version: str) -> Tree:
    return {
        "bin/bash": elf(),
        "lib/os-release": f'ID=flatcar\nVERSION_ID={version}\nPRETTY_NAME="Flatcar {version}"\n',
        **dict.fromkeys(("local", "share/flatcar")),
    }


def write(tree: Tree, directory: Path) -> None:
    """Write the files below the directory, independent of the current time and user."""
    for name, content in tree.items():
        path = directory / name
        if content is None:
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Link):
            path.symlink_to(content.target)
        elif isinstance(content, Fifo):
            os.mkfifo(path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
            if isinstance(content, bytes) and content.startswith(b"\x7fELF"):
                path.chmod(0o755)  # a program
