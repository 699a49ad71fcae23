"""A Debian system in which the packages were built."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator

import pytest

from tests.chroot import ROOT, Chroot, make


def build_dependencies() -> list[str]:
    """The packages that debian/control says are enough."""
    control = (ROOT / "debian" / "control").read_text(encoding="utf-8")
    (listed,) = re.findall(r"^Build-Depends:\n((?: .*\n)+)", control, re.MULTILINE)
    names = [line.split()[0].strip(",") for line in listed.splitlines()]
    return ["debhelper" if name == "debhelper-compat" else name for name in names]


@pytest.fixture(scope="session")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chroot]:
    """A system with the source in /src/guestkit, in which the packages were built."""
    if os.geteuid() != 0:  # mounts and chroot need it; the rest of the long form serves other users
        pytest.skip("needs root, for a system in a folder")
    place = tmp_path_factory.mktemp("builder")
    packages = ["build-essential", *build_dependencies(), "rpm", "rpmlint"]
    try:
        system = make(place / "root", "bookworm", packages)
        system.clone("/src/guestkit")
        system.must("dpkg-buildpackage", "-us", "-uc", "-b", directory="/src/guestkit")
        yield system
    finally:
        shutil.rmtree(place)
