"""`guestkit inspect --xml` beside virt-inspector, byte for byte, on guests of the corpus."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from guestkit import appliance
from tests.images.corpus import images

SHORT = ["ubuntu"]
LONG = [
    "alpine", "arch", "btrfs", "coreos", "fedora", "fedora unreadable packages", "freebsd", "leap", "lvm",
    "no fstab", "raid", "real debian", "separate var", "snapper", "two systems", "windows",
]  # fmt: skip


def virt_inspector(disk: Path, *words: str) -> bytes:
    """What it writes, but for characters that XML cannot have: it writes a guest's as they are.

    It does not notice a broken KVM, and is faster with an appliance of ours.
    """
    settings = {"LIBGUESTFS_BACKEND": "direct", "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg"}
    for one in appliance.appliances():
        if one.directory.name.startswith("lean-") and not one.fault:
            settings["LIBGUESTFS_PATH"] = str(one.directory)
    command = ["virt-inspector", *words, "--format=raw", "-a", str(disk)]
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, check=True, timeout=600)
    text = done.stdout.decode(errors="surrogateescape")
    return re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]", "\ufffd", text).encode()


def guestkit_inspect(disk: Path, *words: str) -> bytes:
    command = [sys.executable, "-m", "guestkit", "inspect", "--xml", "--format", "raw", *words, str(disk)]
    return subprocess.run(command, capture_output=True, check=True, timeout=600).stdout


@pytest.mark.parametrize("name", [*SHORT, *(pytest.param(name, marks=pytest.mark.full) for name in LONG)])
def test_the_xml_is_virt_inspector_s_byte_for_byte(name: str) -> None:
    (disk,) = images([name]).values()
    theirs = virt_inspector(disk, "--no-icon")
    assert theirs.count(b"<operatingsystem>") >= 1
    assert guestkit_inspect(disk) == theirs


@pytest.mark.parametrize("name", ["debian", pytest.param("windows", marks=pytest.mark.full)])
def test_with_the_icon_too(name: str) -> None:
    (disk,) = images([name]).values()
    assert guestkit_inspect(disk, "--only", "filesystems,applications,icon") == virt_inspector(disk)


@pytest.mark.full
def test_without_the_packages() -> None:
    (disk,) = images(["debian"]).values()
    theirs = virt_inspector(disk, "--no-icon", "--no-applications")
    assert b"applications" not in theirs
    assert guestkit_inspect(disk, "--no-applications") == theirs
