"""pip installs guestkit with a C++ compiler and libguestfs' headers alone, on other Debian releases."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from generators.facts import load

from guestkit.demo import DEMO_SYSTEM
from tests.chroot import PLACE, ROOT, Chroot, kept
from tests.consumer.test_consumers import run
from tests.consumer.test_pythons import PROGRAM

pytestmark = [
    pytest.mark.full,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make another Debian and to enter it"),
]

#: Nothing of Boost, Meson or Ninja; what follows g++ and the headers is for an inspection.
PACKAGES = (
    *("g++", "libguestfs-dev", "pkg-config", "python3-dev", "python3-venv"),
    *("e2fsprogs", "libguestfs-tools", "qemu-system-x86", "qemu-utils", "supermin"),
)
WORK = "/srv/guestkit"


def bare(release: str) -> Chroot:
    """Return that Debian, with the checkout in WORK."""
    options = ('Acquire::Check-Valid-Until "false"',)  # testing's package lists may be past their date
    return kept(release, packages=PACKAGES, apt_options=options, place=PLACE / "bare")


@pytest.fixture(scope="module", params=["trixie", "testing"])
def debian(request: pytest.FixtureRequest) -> Chroot:
    """A Debian in which pip has built guestkit, in WORK/venv."""
    there = bare(request.param)
    there.clone(WORK)
    there.must("python3", "-m", "venv", "venv", directory=WORK)
    there.must("venv/bin/pip", "install", ".", directory=WORK)
    return there


def inspect(there: Chroot, disk: Path, place: str = WORK) -> None:
    shutil.copy(disk, there.root / place[1:] / "disk.img")
    line = there.must("venv/bin/python", "-Pc", PROGRAM, "disk.img", directory=place).splitlines()[-1]
    package, module, product = json.loads(line)
    assert Path(package).is_relative_to(Path(place, "venv"))
    assert Path(module).parent == Path(package).parent
    assert product == DEMO_SYSTEM.product_name


def test_what_pip_built_inspects_a_guest(debian: Chroot, demo_guest: Path) -> None:
    inspect(debian, demo_guest)


#: Has the module refer to actions that no libguestfs has, as where it is older than that of the build.
OLDER = """\
import pathlib, shutil, sys
from importlib.util import find_spec
there = pathlib.Path(find_spec("guestkit").origin).parent
older = pathlib.Path("older/guestkit")
shutil.copytree(there, older)
(module,) = older.glob("_native.*.so")
content, gone = module.read_bytes(), []
sys.path.insert(0, "tools")
from generators.facts import load
for action in load(pathlib.Path("api")).actions:
    name = b"\\0" + action.c_function.encode() + b"\\0"
    if action.may_be_missing and name in content:
        content = content.replace(name, b"\\0none" + name[5:])
        gone.append(action.name)
module.write_bytes(content)
sys.path.insert(0, "older")
import guestkit
assert guestkit.__file__.endswith("older/guestkit/__init__.py")
assert len(gone) >= 5, gone
with guestkit.Guestfs() as g:
    assert g.get_memsize() == 1280
    for name in gone:
        assert not hasattr(g, name), name
        try:
            getattr(g, name)
        except guestkit.ActionMissing as error:
            print(error)
"""


def test_a_module_built_with_a_newer_libguestfs_could_not_be_loaded_with_an_older(debian: Chroot) -> None:
    """Regression: the linker did not find the actions that the older one lacks."""
    lines = debian.must("venv/bin/python", "-Pc", OLDER, directory=WORK).splitlines()
    assert len(lines) >= 5
    assert all("this guestkit was built for libguestfs 1." in line for line in lines)


#: Tells which of these actions the module lacks, and why.
LACKS = """\
import sys, guestkit
with guestkit.Guestfs() as g:
    for name in sys.argv[1:]:
        try:
            getattr(g, name)
        except guestkit.ActionMissing as error:
            print(name, error)
"""


def test_a_module_for_this_machines_libguestfs_works_with_a_newer(debian: Chroot, demo_guest: Path) -> None:
    """As a wheel does that was built on the oldest system: there, against the headers from here."""
    place = debian.clone("/srv/other")
    headers = debian.root / "srv/headers"
    headers.mkdir(exist_ok=True)
    variables = ("pcfiledir", "includedir")
    folder, include = (
        Path(run("pkg-config", f"--variable={name}", "libguestfs").strip()) for name in variables
    )
    shutil.copy(include / "guestfs.h", headers)
    package = (folder / "libguestfs.pc").read_text(encoding="utf-8")
    package = re.sub("^(includedir=).*$", r"\1/srv/headers", package, flags=re.MULTILINE)
    package = re.sub("^Cflags:.*$", "Cflags: -I${includedir}", package, flags=re.MULTILINE)
    (headers / "libguestfs.pc").write_text(package, encoding="utf-8")
    debian.must("python3", "-m", "venv", "venv", directory=place)
    debian.must(
        "venv/bin/pip", "install", ".", directory=place, environment={"PKG_CONFIG_PATH": "/srv/headers"}
    )
    inspect(debian, demo_guest, place)
    # It was built against the older headers: it has what they declare, and says what it lacks.
    here = (include / "guestfs.h").read_text(encoding="utf-8")
    there = (debian.root / "usr/include/guestfs.h").read_text(encoding="utf-8")
    newer = [
        action.name
        for action in load(ROOT / "api").actions
        if f" {action.macro} " in there and f" {action.macro} " not in here
    ]
    lines = debian.must("venv/bin/python", "-Pc", LACKS, *newer, directory=place).splitlines()
    version = run("pkg-config", "--modversion", "libguestfs").strip()
    assert [line.split()[0] for line in lines] == newer
    assert all(f"this guestkit was built for libguestfs {version}" in line for line in lines)
    assert newer or here == there
