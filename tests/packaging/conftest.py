"""A Debian system in which the packages were built."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from tests.chroot import Chroot
from tests.packaging.system import System, build_dependencies


@pytest.fixture(scope="session")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system with the source in /src/guestkit, in which the packages were built."""
    if os.geteuid() != 0:  # mounts and chroot need it; the rest of the long form serves other users
        pytest.skip("needs root, for a system in a folder")
    place = tmp_path_factory.mktemp("builder")
    system = System(place / "root", ["build-essential", *build_dependencies(), "rpm", "rpmlint"])
    try:
        Chroot(system.root).clone("/src/guestkit")
        system.must("dpkg-buildpackage", "-us", "-uc", "-b", folder="/src/guestkit")
        yield system
    finally:
        shutil.rmtree(place)
