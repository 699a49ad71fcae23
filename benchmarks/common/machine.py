"""The machine on which figures are measured."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import guestkit
from guestkit import Guestfs, _native
from guestkit.handle_options import Accel

ROOT = Path(__file__).resolve().parents[2]
DISSECT_TARGET = "3.25.1"  # the release from PyPI that is measured


@dataclass(frozen=True)
class Machine:
    """What figures depend on.

    Attributes:
        processor: its name
        processors: how many may be used
        memory: in bytes
        kvm: whether KVM runs guests
        system: the distribution
        kernel: the kernel's release
        versions: of guestkit and of what it is compared with
        load: how many processes wanted a processor in the minute before the first figure
    """

    processor: str
    processors: int
    memory: int
    kvm: bool
    system: str
    kernel: str
    versions: dict[str, str]
    load: float

    def lines(self) -> list[str]:
        """Return it for people to read."""
        return [
            f"{self.processor}, {self.processors} processors, {self.memory / 2**30:.0f} GiB of memory",
            "with KVM" if self.kvm else "without KVM, so that appliances are emulated",
            f"{self.system}, Linux {self.kernel}",
            ", ".join(f"{name} {version}" for name, version in self.versions.items()),
        ]


def describe() -> Machine:
    """Return this machine."""
    return Machine(
        processor=_processor(),
        processors=len(os.sched_getaffinity(0)),
        memory=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        kvm=not why_no_kvm(),
        system=platform.freedesktop_os_release().get("PRETTY_NAME", ""),
        kernel=platform.release().partition("-")[0],
        versions=_versions(),
        load=round(os.getloadavg()[0], 1),
    )


@cache
def why_no_kvm() -> str:
    """Return "" if KVM runs guests, by the probe that launches use; else why it does not."""
    with Guestfs() as g:
        usable, reason = _native.kvm_status(g.get_hv())
    return "" if usable else reason or "does not run guests"


def accelerator() -> Accel:
    """Return what guests run on here."""
    return "tcg" if why_no_kvm() else "kvm"


def _processor() -> str:
    rows = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = (row.partition(":")[2].strip() for row in rows if row.startswith("model name"))
    return next(names, platform.machine())


def _versions() -> dict[str, str]:
    with Guestfs() as g:
        libguestfs = "{major}.{minor}.{release}".format(**g.version())
        qemu = _first_line(g.get_hv(), "--version")
    programs = {name: _first_line(name, "--version") for name in ("guestfish", "virt-inspector", "g++")}
    versions = {
        "guestkit": f"{guestkit.__version__} {_commit()}".rstrip(),
        "libguestfs": libguestfs,
        "QEMU": qemu,
        "Python": platform.python_version(),
        **programs,
        "dissect.target": DISSECT_TARGET,
    }
    return {name: version.removeprefix(f"{name} ") for name, version in versions.items() if version}


def _commit() -> str:
    return _first_line("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD")


def _first_line(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.partition("\n")[0] if done.returncode == 0 else ""
