"""The image that the Containerfile makes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator

import pytest

from guestkit import demo
from tests.chroot import Chroot, make
from tests.packaging.containerfile import Image, stages

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def image(builder: Chroot, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    place = tmp_path_factory.mktemp("container")
    try:
        yield Image(make(place / "root", "bookworm", ["ca-certificates"]), stages()[-1], builder)
    finally:
        shutil.rmtree(place)


@pytest.mark.full
def test_it_inspects_a_disk_as_nobody_in_a_read_only_root_without_kvm(image: Image) -> None:
    disk = image.system.root / image.folder.lstrip("/") / "disk.qcow2"
    demo.make_demo_guest(disk, image_format="qcow2")
    disk.chmod(0o444)
    # As where layers were unpacked: times have lost their fractions.
    for path in (image.system.root / "var" / "cache" / "guestkit").rglob("*"):
        os.utime(path, ns=(0, path.stat().st_mtime_ns // 10**9 * 10**9))
    assert image.user != 0
    done = image.system.run(
        *image.entry, "--json", "-v", "disk.qcow2",
        user=image.user, directory=image.folder, environment=image.environment,
        read_only=True, private_dev=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (report,) = json.loads(done.stdout)
    assert report["inspection"]["operating_systems"][0]["hostname"] == "guestkit-demo"
    assert "lean" in done.stderr


@pytest.mark.full
def test_nothing_in_the_image_belongs_to_the_user_who_runs_it(image: Image) -> None:
    found = image.system.must("find", "/usr", "/var", "/etc", "-xdev", "-user", str(image.user))
    assert found == ""
