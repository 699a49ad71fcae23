"""`guestkit inspect --xml` compared with virt-inspector, byte for byte, on guests of the corpus."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from guestkit import appliance
from tests.images.corpus import images

# Guests of which libguestfs reports nothing wrong. Of others, guestkit corrects the report, and so differs.
SHORT = ["debian"]
LONG = [
    "alpine", "arch", "coreos", "freebsd", "lvm", "no fstab", "raid", "real debian", "separate var",
    "windows",
]  # fmt: skip
#: Guests whose packages libguestfs 1.48 cannot read here; virt-inspector then gives up.
WITHOUT_PACKAGES = ["btrfs", "fedora", "leap"]


def virt_inspector(disk: Path, *words: str) -> bytes:
    """Return its output, except that characters XML forbids, which it copies from the guest, are replaced.

    Forces TCG, because virt-inspector does not notice a broken KVM, and takes guestkit's faster appliance.
    """
    settings = {"LIBGUESTFS_BACKEND": "direct", "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg"}
    for one in appliance.appliances():
        if one.directory.name.startswith("lean-") and not one.fault:
            settings["LIBGUESTFS_PATH"] = str(one.directory)
    command = ["virt-inspector", *words, "--format=raw", "-a", str(disk)]
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    text = done.stdout.decode(errors="surrogateescape")
    return re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]", "\ufffd", text).encode()


def guestkit_inspect(disk: Path, *words: str) -> bytes:
    command = [sys.executable, "-m", "guestkit", "inspect", "--xml", "--format", "raw", *words, str(disk)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


@pytest.mark.parametrize("name", [*SHORT, *(pytest.param(name, marks=pytest.mark.full) for name in LONG)])
def test_the_xml_is_virt_inspector_s_byte_for_byte(name: str) -> None:
    (disk,) = images([name]).values()
    theirs = virt_inspector(disk, "--no-icon")
    assert theirs.count(b"<operatingsystem>") >= 1
    assert guestkit_inspect(disk) == theirs


@pytest.mark.full
@pytest.mark.parametrize("name", ["debian", "windows"])
def test_with_the_icon_too(name: str) -> None:
    (disk,) = images([name]).values()
    assert guestkit_inspect(disk, "--only", "filesystems,applications,icon") == virt_inspector(disk)


@pytest.mark.full
@pytest.mark.parametrize("name", ["debian", *WITHOUT_PACKAGES])
def test_without_the_packages(name: str) -> None:
    (disk,) = images([name]).values()
    theirs = virt_inspector(disk, "--no-icon", "--no-applications")
    assert b"applications" not in theirs
    assert guestkit_inspect(disk, "--no-applications") == theirs
