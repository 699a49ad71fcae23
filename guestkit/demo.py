"""A small guest to try things on: a disk that looks like a Debian, made with guestkit itself.

It can be inspected, but not booted. `DEMO_FILESYSTEMS` and `DEMO_SYSTEM` are what an inspection of it finds.
"""

from __future__ import annotations

import io
import struct
import tarfile
import tempfile
from typing import TYPE_CHECKING, Literal

from guestkit.handle import Guestfs
from guestkit.handle_options import Accel
from guestkit.inspection import Application, OperatingSystem

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath

DEMO_FILESYSTEMS = {"/dev/sda1": "ext4", "/dev/sda2": "ext4"}


def _application(name: str, epoch: int, version: str, release: str, arch: str) -> Application:
    return Application(
        name=name,
        display_name="",
        epoch=epoch,
        version=version,
        release=release,
        arch=arch,
        install_path="",
        publisher="Nobody <nobody@example.org>",
        url="",
        source_package="",
        summary="part of guestkit's demo guest",
        description="a name and a version, nothing more",
    )


DEMO_SYSTEM = OperatingSystem(
    root="/dev/sda1",
    type="linux",
    distro="debian",
    product_name="Debian GNU/Linux 12",
    product_variant="unknown",
    major_version=12,
    minor_version=5,
    arch="x86_64",
    hostname="guestkit-demo",
    package_format="deb",
    package_management="apt",
    osinfo="debian12",
    build_id="",
    mountpoints={"/": "/dev/sda1", "/var": "/dev/sda2"},
    filesystems=("/dev/sda2", "/dev/sda1"),
    drive_mappings={},
    windows=None,
    os_release={
        "PRETTY_NAME": "Debian GNU/Linux 12",
        "NAME": "Debian GNU/Linux",
        # Real Debian has "12" here; libguestfs then takes version and product from debian_version.
        "VERSION_ID": "12.5",
        "ID": "debian",
    },
    icon=None,
    applications=(
        _application("base-files", 0, "12.4+deb12u5", "", "amd64"),
        _application("bash", 0, "5.2.15", "2+b2", "amd64"),
        _application("dash", 0, "0.5.12", "2", "amd64"),
        _application("tzdata", 0, "2024a", "0+deb12u1", "all"),
        _application("vim-tiny", 2, "9.0.1378", "2", "amd64"),
    ),
    applications_complete=True,
    users=(),
    kernels=(),
    services=(),
    network=(),
    timezone="",
    locale="",
    machine_id="",
    failures=(),
)

_SECTORS = 128 * 1024 * 1024 // 512
_MIDDLE = _SECTORS // 2
_VAR_UUID = "6f1c2a54-2f0e-4a57-9d0c-6b7a1d0c9e11"

_LINKS = {"bin": "usr/bin", "lib": "usr/lib", "sbin": "usr/sbin", "usr/bin/sh": "dash"}

_DIRECTORIES = ("boot", "dev", "home", "proc", "root", "run", "sys", "tmp", "usr/lib", "usr/sbin", "var/log")


def make_demo_guest(
    path: StrOrBytesPath, *, image_format: Literal["raw", "qcow2"] = "raw", accel: Accel = "auto"
) -> None:
    """Create the demo guest: 128 MB, sparse, with a GPT and ext4 filesystems for / and /var.

    Launches an appliance, which takes seconds. Overwrites an existing file. After an Error the disk is
    incomplete.
    """
    with (
        tempfile.NamedTemporaryFile(prefix="guestkit-demo-", suffix=".tar") as archive,
        Guestfs(accel=accel) as g,
    ):
        archive.write(_tree())
        archive.flush()
        g.disk_create(path, image_format, _SECTORS * 512)
        g.open_disk(path, readonly=False, format=image_format)
        g.launch()
        g.part_init("/dev/sda", "gpt")
        g.part_add("/dev/sda", "primary", 2048, _MIDDLE - 1)
        g.part_add("/dev/sda", "primary", _MIDDLE, -2048)
        g.mke2fs("/dev/sda1", fstype="ext4", label="demo-root")
        g.mke2fs("/dev/sda2", fstype="ext4", label="demo-var", uuid=_VAR_UUID)
        g.mount("/dev/sda1", "/")
        g.mkdir("/var")
        g.mount("/dev/sda2", "/var")
        g.tar_in(archive.name, "/")
        g.shutdown()  # a failed last write raises here


def _tree() -> bytes:
    """Return the guest's files as a tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in _DIRECTORIES:
            tar.addfile(_entry(name, tarfile.DIRTYPE))
        for name, content in _files().items():
            entry = _entry(name, tarfile.REGTYPE)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        for name, target in _LINKS.items():
            entry = _entry(name, tarfile.SYMTYPE)
            entry.linkname = target
            tar.addfile(entry)
    return buffer.getvalue()


def _entry(name: str, kind: bytes) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type = kind
    entry.mode = 0o755 if kind == tarfile.DIRTYPE or name.startswith("usr/bin/") else 0o644
    entry.uname = entry.gname = "root"
    entry.mtime = 1_707_566_400  # the day of Debian 12.5
    return entry


def _files() -> dict[str, bytes]:
    program = _program()
    texts = {
        "etc/debian_version": "12.5\n",
        "etc/fstab": (
            f"LABEL=demo-root / ext4 errors=remount-ro 0 1\nUUID={_VAR_UUID} /var ext4 defaults 0 2\n"
        ),
        "etc/hostname": f"{DEMO_SYSTEM.hostname}\n",
        "etc/hosts": f"127.0.0.1 localhost\n127.0.1.1 {DEMO_SYSTEM.hostname}\n",
        "etc/os-release": "".join(f'{key}="{value}"\n' for key, value in DEMO_SYSTEM.os_release.items()),
        "etc/passwd": "root:x:0:0:root:/root:/bin/bash\ndemo:x:1000:1000:Demo:/home/demo:/bin/sh\n",
        "var/lib/dpkg/status": _dpkg_status(),
    }
    return {
        "usr/bin/bash": program,
        "usr/bin/dash": program,
        "usr/bin/ls": program,
        **{name: text.encode() for name, text in texts.items()},
    }


def _dpkg_status() -> str:
    """Return the package database: the applications, plus a removed package that must not be reported."""
    removed = _application("nano", 0, "7.2", "1", "amd64")
    return "".join(
        f"Package: {app.name}\n"
        f"Status: {'deinstall ok config-files' if app is removed else 'install ok installed'}\n"
        f"Maintainer: {app.publisher}\n"
        f"Architecture: {app.arch}\n"
        f"Version: {_debian_version(app)}\n"
        f"Description: {app.summary}\n {app.description}\n\n"
        for app in [*DEMO_SYSTEM.applications, removed]
    )


def _debian_version(app: Application) -> str:
    epoch = f"{app.epoch}:" if app.epoch else ""
    release = f"-{app.release}" if app.release else ""
    return f"{epoch}{app.version}{release}"


def _program() -> bytes:
    """Return a bare ELF header for x86_64: enough to detect the architecture."""
    identity = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    executable, x86_64, header_size = 2, 62, 64
    return struct.pack(
        "<16sHHIQQQIHHHHHH", identity, executable, x86_64, 1, 0, 0, 0, 0, header_size, 56, 0, 64, 0, 0
    )
