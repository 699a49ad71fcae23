"""A Debian system in which the packages were built."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from tests.chroot import Chroot, make
from tests.packaging.containerfile import Image, stages


@pytest.fixture(scope="session")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chroot]:
    """The system of the Containerfile's first stage: the source is in /src/guestkit, the packages in /src."""
    if os.geteuid() != 0:  # mounts and chroot need it; the rest of the long form serves other users
        pytest.skip("needs root, for a system in a folder")
    place = tmp_path_factory.mktemp("builder")
    try:
        yield Image(make(place / "root", "bookworm", ["ca-certificates"]), stages()[0]).system
    finally:
        shutil.rmtree(place)
