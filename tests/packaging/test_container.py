"""The steps of the Containerfile, in systems in folders: the tests need no container engine."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator

import pytest

from guestkit import demo
from tests.chroot import ROOT, Chroot, make

pytestmark = pytest.mark.timeout(3600)


def steps() -> list[list[tuple[str, str]]]:
    """The instructions of each stage, such as ("RUN", "apt-get update"), without FROM."""
    text = (ROOT / "Containerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    stages: list[list[tuple[str, str]]] = []
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            assert rest.split()[0] == "debian:12-slim"
            stages.append([])
        elif word and word != "#":
            stages[-1].append((word, rest.strip()))
    return stages


class Image:
    """What the last stage makes of a system, and how its container is run."""

    def __init__(self, system: Chroot, built: Chroot) -> None:
        self.system, self.user, self.folder, self.environment = system, 0, "/", dict[str, str]()
        self.entry: list[str] = []
        for word, rest in steps()[-1]:
            match word:
                case "COPY":
                    origin, pattern, target = rest.split()
                    assert origin == "--from=build"
                    for path in built.root.glob(pattern.lstrip("/")):
                        shutil.copy(path, system.root / target.lstrip("/"))
                case "RUN":
                    system.must(
                        "sh", "-euc", rest,
                        directory=self.folder, environment=self.environment, private_dev=True,
                    )  # fmt: skip
                case "ENV":
                    self.environment |= dict(each.split("=", 1) for each in rest.split())
                case "USER":
                    self.user = int(rest)
                case "WORKDIR":
                    self.folder = rest
                    (system.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
                case "ENTRYPOINT":
                    self.entry = json.loads(rest)
                case _:
                    pytest.fail(f"unknown instruction {word}")


@pytest.fixture(scope="module")
def image(builder: Chroot, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    place = tmp_path_factory.mktemp("container")
    try:
        yield Image(make(place / "root", "bookworm", ["ca-certificates"]), builder)
    finally:
        shutil.rmtree(place)


def test_the_build_stage_makes_the_packages_that_the_other_tests_use() -> None:
    (command,) = [rest for word, rest in steps()[0] if word == "RUN"]
    assert command.endswith("&& dpkg-buildpackage -us -uc -b")


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
    assert report["inspection"]["systems"][0]["hostname"] == "guestkit-demo"
    assert "lean" in done.stderr


@pytest.mark.full
def test_nothing_in_the_image_belongs_to_the_user_who_runs_it(image: Image) -> None:
    found = image.system.must("find", "/usr", "/var", "/etc", "-xdev", "-user", str(image.user))
    assert found == ""
