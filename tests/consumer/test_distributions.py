"""pip installs guestkit with a C++ compiler and libguestfs' headers alone, on other Debian releases."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from guestkit.demo import DEMO_SYSTEM
from tests.consumer.test_consumers import ROOT, repository, run
from tests.consumer.test_pythons import PROGRAM, pythons

pytestmark = [pytest.mark.full, pytest.mark.timeout(3600)]

#: Nothing of Boost, Meson or Ninja.
PACKAGES = (
    "ca-certificates,e2fsprogs,g++,libguestfs-dev,libguestfs-tools,linux-image-cloud-amd64,pkg-config,python3-dev,"
    "python3-venv,qemu-system-x86,qemu-utils,supermin"
)

#: Gives the chroot /dev, /proc and /sys in a namespace, so that nothing stays mounted.
ENTER = """\
root=$1; shift
mount --rbind /dev "$root/dev"; mount --rbind /sys "$root/sys"; mount -t proc proc "$root/proc"
mount --bind /etc/ssl/certs "$root/etc/ssl/certs"
exec chroot "$root" "$@"
"""


class Chroot:
    """A Debian release in build/chroots, which stays there; tests only add to its /work."""

    def __init__(self, release: str) -> None:
        self.root = ROOT / "build" / "chroots" / release
        if not (self.root / "etc" / "made").exists():
            shutil.rmtree(self.root, ignore_errors=True)
            options = ("--variant=apt", "--aptopt=Acquire::Check-Valid-Until false", f"--include={PACKAGES}")
            run("mmdebstrap", *options, "--aptopt=APT::Install-Recommends false", release, self.root)
            (self.root / "etc" / "made").touch()
        (self.root / "work").mkdir(exist_ok=True)
        shutil.copy("/etc/resolv.conf", self.root / "etc")

    def run(self, *command: str | Path, **environment: str) -> str:
        """Run the command in /work there, as root; return what it printed."""
        plain = (
            "env",
            "-i",
            "HOME=/root",
            "LANG=C.UTF-8",
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
            "-C",
            "/work",
        )
        certificates = "PIP_CERT=/etc/ssl/certs/ca-certificates.crt"
        variables = [f"{name}={value}" for name, value in environment.items()]
        return run(
            *("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-euc", ENTER, "sh", self.root),
            *(*plain, certificates, *variables, *command),
        )


@pytest.fixture(scope="module", params=["trixie", "testing"])
def chroot(request: pytest.FixtureRequest) -> Chroot:
    """The chroot with guestkit in /work/venv, built there by pip."""
    there = Chroot(request.param)
    shutil.rmtree(there.root / "work")
    (there.root / "work").mkdir()
    repository(there.root / "work" / "sources")
    there.run("python3", "-m", "venv", "venv")
    there.run("venv/bin/pip", "install", "./sources")
    return there


def inspect(chroot: Chroot, python: str, disk: Path) -> None:
    shutil.copy(disk, chroot.root / "work" / "disk.img")
    told = chroot.run(python, "-c", PROGRAM, "disk.img")
    package, module, product = json.loads(told.splitlines()[-1])
    assert Path(module).parent == Path(package).parent
    assert Path(python).parts[0] in Path(package).parts
    assert product == DEMO_SYSTEM.product_name


def test_what_pip_built_inspects_a_guest(chroot: Chroot, demo_guest: Path) -> None:
    inspect(chroot, "venv/bin/python", demo_guest)


#: Has the module refer to actions that no libguestfs has, as where it is older than that of the build.
OLDER = """\
import pathlib, shutil, sys
from importlib.util import find_spec
there = pathlib.Path(find_spec("guestkit").origin).parent
older = pathlib.Path("older/guestkit")
shutil.copytree(there, older)
(module,) = older.glob("_native.*.so")
content, gone = module.read_bytes(), []
sys.path.insert(0, "sources/tools")
from generators.facts import load
for action in load(pathlib.Path("sources/api")).actions:
    name = b"\\0" + action.c_function.encode() + b"\\0"
    if action.may_be_missing and name in content:
        content = content.replace(name, b"\\0none" + name[5:])
        gone.append(action.name)
module.write_bytes(content)
sys.path.insert(0, "older")
import guestkit
assert guestkit.__file__.endswith("older/guestkit/__init__.py")
assert len(gone) >= 6, gone
with guestkit.Guestfs() as g:
    assert g.get_memsize() == 1280
    for name in gone:
        assert not hasattr(g, name), name
        try:
            getattr(g, name)
        except guestkit.ActionMissing as error:
            print(error)
"""


def test_a_module_built_with_a_newer_libguestfs_could_not_be_loaded_with_an_older(chroot: Chroot) -> None:
    """Regression: the linker did not find the actions that the older one lacks."""
    told = chroot.run("venv/bin/python", "-c", OLDER).splitlines()
    assert len(told) >= 6
    assert all("this guestkit was built for libguestfs 1." in line for line in told)


@pytest.mark.parametrize(
    ("release", "python"),
    [
        (release, python)
        for python in pythons()
        for release, version in (("trixie", "python3.13"), ("testing", "python3.14"))
        if python.name == version
    ],
)
def test_a_wheel_of_this_machine_works_with_a_newer_libguestfs(
    release: str, python: Path, demo_guest: Path, tmp_path: Path
) -> None:
    run(python, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", tmp_path, repository(tmp_path / "sources"))
    (wheel,) = tmp_path.glob("libguestkit-*.whl")
    there = Chroot(release)
    shutil.copy(wheel, there.root / "work")
    there.run("python3", "-m", "venv", "--clear", "other")
    there.run("other/bin/pip", "install", wheel.name)
    inspect(there, "other/bin/python", demo_guest)
