"""Scanners that nobody here wrote find what guestkit finds: through a mount, and in bills of materials."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import get_args

import pytest
from packageurl import PackageURL

import guestkit
from guestkit import Guestfs, Inspection
from guestkit.languages import LanguagePackages, find_packages
from guestkit.sboms import SbomFormat
from tests.go_tools import go_tool
from tests.grype_database import grype_database, matches
from tests.images import corpus, kinds
from tests.images.trees import Tree

pytestmark = [pytest.mark.full, pytest.mark.timeout(3600)]  # they may have to be built

#: Packages of languages, beside those of a real Debian.
LANGUAGES: Tree = {
    "usr/lib/python3/dist-packages/requests-2.28.1.dist-info/METADATA": (
        "Metadata-Version: 2.1\nName: requests\nVersion: 2.28.1\nLicense: Apache-2.0\n"
    ),
    "usr/lib/node_modules/left-pad/package.json": '{"name": "left-pad", "version": "1.3.0"}',
}


@pytest.fixture(scope="module")
def syft() -> Path:
    return go_tool("syft")


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A directory that belongs to an ordinary user, who is this one unless that is root."""
    home = Path(tempfile.mkdtemp(prefix="guestkit-tools-", dir="/var/tmp"))
    (home / "mnt").mkdir()
    yield home
    shutil.rmtree(home)


@pytest.fixture(scope="module")
def disk(home: Path) -> Path:
    """A real Debian on btrfs' subvolumes, in a logical volume, in a qcow2."""
    path = home / "disk.qcow2"
    with Guestfs() as g:
        g.disk_create(path, "qcow2", 3 << 30)
        g.add_drive(path, format="qcow2")
        g.launch()
        g.pvcreate(corpus.partition(g, "/dev/sda"))
        g.vgcreate("group", ["/dev/sda1"])
        g.lvcreate_free("root", "group", 100)
        g.mkfs_btrfs(["/dev/group/root"])
        g.mount("/dev/group/root", "/")
        for name in ("@rootfs", "@var"):
            g.btrfs_subvolume_create(f"/{name}")
        g.umount_all()
        g.mount("btrfsvol:/dev/group/root/@rootfs", "/")
        g.mkdir("/var")
        g.mount("btrfsvol:/dev/group/root/@var", "/var")
        g.tar_in(kinds.archive(), "/", xattrs=True)
        fstab = "".join(
            f"/dev/mapper/group-root {place} btrfs subvol={name} 0 0\n"
            for place, name in (("/", "@rootfs"), ("/var", "@var"))
        )
        corpus.pack(g, {"etc/fstab": fstab, "etc/hostname": "tools\n", **LANGUAGES})
        g.shutdown()
    return path


@pytest.fixture(scope="module")
def known(disk: Path) -> tuple[Inspection, LanguagePackages]:
    """What guestkit finds."""
    with guestkit.open_guest(disk) as g:
        return guestkit.inspect(disk), find_packages(g)


def packages_in(document: Path) -> set[PackageURL]:
    """Return the packages in a document of syft's own; it takes a bill's system for one, without a URL."""
    found = set()
    for package in json.loads(document.read_text(encoding="utf-8"))["artifacts"]:
        if package["purl"]:
            url = PackageURL.from_string(package["purl"])
            assert (package["name"], package["version"]) == (url.name, url.version)
            found.add(url)
    return found


def without_release(packages: Iterable[PackageURL]) -> set[PackageURL]:
    """Leave out the version of Debian: syft has it from debian_version, guestkit from os-release."""
    return {
        PackageURL(
            package.type,
            package.namespace,
            package.name,
            package.version,
            {name: value for name, value in package.qualifiers.items() if name != "distro"},
        )
        for package in packages
    }


def packages_of(
    known: tuple[Inspection, LanguagePackages], folder: Path, format: SbomFormat
) -> tuple[Path, set[PackageURL]]:
    """Return guestkit's bill of materials, and the packages in it."""
    inspection, languages = known
    bill = guestkit.sbom(inspection, format=format, languages=[languages])
    assert bill.complete, bill.gaps
    path = folder / f"bill.{format}.json"
    path.write_text(bill.to_json(), encoding="ascii")
    found = re.findall(r'"(pkg:[^"]+)"', bill.to_json())
    return path, {PackageURL.from_string(purl) for purl in found}


def test_a_scanner_finds_the_packages_of_a_guest_that_a_user_mounted(
    home: Path,
    disk: Path,
    known: tuple[Inspection, LanguagePackages],
    syft: Path,
    open_checkout: None,
    tmp_path: Path,
) -> None:
    _, expected = packages_of(known, tmp_path, "cyclonedx")
    guestkit = f"{sys.executable} -m guestkit"
    script = f"""
        {guestkit} mount disk.qcow2 mnt
        trap '{guestkit} unmount mnt' EXIT
        {syft} scan dir:mnt --override-default-catalogers image -o syft-json=found.json
    """
    command = ["sh", "-ec", script]
    environment = {
        **os.environ,
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home),
        "SYFT_CHECK_FOR_APP_UPDATE": "false",
    }
    if os.geteuid() == 0:
        user = pwd.getpwnam("nobody")  # fusermount wants one with a name
        subprocess.run(["chown", "-R", f"{user.pw_uid}:{user.pw_gid}", home], check=True)
        command = [
            "setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", *command
        ]  # fmt: skip
        environment["GUESTKIT_CACHEDIR"] = str(home / "cache")  # others may not enter root's
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert without_release(packages_in(home / "found.json")) == without_release(expected)


@pytest.mark.parametrize("format", get_args(SbomFormat))
def test_a_scanner_reads_the_packages_in_a_bill_of_materials(
    format: SbomFormat, known: tuple[Inspection, LanguagePackages], syft: Path, tmp_path: Path
) -> None:
    bill, expected = packages_of(known, tmp_path, format)
    command = [str(syft), "convert", str(bill), "-o", f"syft-json={tmp_path}/read.json"]
    subprocess.run(command, check=True, capture_output=True)
    assert packages_in(tmp_path / "read.json") == expected


@pytest.mark.parametrize("format", get_args(SbomFormat))
def test_grype_finds_in_a_bill_of_materials_what_was_built_from_a_vulnerable_source(
    format: SbomFormat, known: tuple[Inspection, LanguagePackages], tmp_path: Path
) -> None:
    bill, _ = packages_of(known, tmp_path, format)
    environment = os.environ | grype_database(tmp_path / "database", {"glibc": "99", "bash": "1"})
    command = [str(go_tool("grype")), f"sbom:{bill}", "-o", f"json={tmp_path}/found.json"]
    subprocess.run(command, check=True, capture_output=True, env=environment)
    (system,) = known[0].operating_systems
    built = {package.name for package in system.applications if package.source_package == "glibc"}
    assert {"libc-bin", "libc6"} <= built
    assert matches(tmp_path / "found.json") == {("CVE-glibc", name) for name in built}
