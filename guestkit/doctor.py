"""Check whether guestkit can run on this host, and say how to fix what is wrong.

for finding in diagnose():
    print(finding.level, finding.name, finding.message, finding.remedy)
"""

from __future__ import annotations

import grp
import os
import shlex
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from guestkit import _native, appliance
from guestkit._system import install_command
from guestkit._template import hypervisor_file
from guestkit.errors import Error, said
from guestkit.generated.values import ApplianceMode
from guestkit.handle import Guestfs

Level = Literal["ok", "warning", "error"]

#: Space for what an appliance writes besides the disks, in bytes.
ROOM = 1 << 30
#: Space for libguestfs' own appliance, which it builds at the first launch, in bytes.
CACHE_ROOM = 1 << 30
#: Where QEMU has the appliance's changes if TMPDIR is unset or /tmp, and how much those are, in bytes.
QEMU_PLACE, QEMU_ROOM = Path("/var/tmp"), 64 << 20
KVM = Path("/dev/kvm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check.

    Attributes:
        name: "kvm", "kernel", "qemu", "libguestfs", "appliance", "memory", "temporary files", …
        level: "error": launches do not work, or appliances cannot be made; "warning": it works, but slower or
            with less; "ok"
        message: what was found, in one sentence
        remedy: the command that fixes it; "" if there is nothing to fix, or no command can
    """

    name: str
    level: Level
    message: str
    remedy: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the values as a dictionary, for `json.dumps`. Keys are only ever added."""
        return asdict(self)


def diagnose() -> tuple[Finding, ...]:
    """Check everything that a launch needs, in a few seconds. Runs no appliance, only a probe of KVM."""
    findings: list[Finding] = []
    try:
        handle = Guestfs()
    except Error as error:  # TMPDIR or a variable of libguestfs is wrong
        findings.append(Finding(name="environment", level="error", message=error.message))
        handle = Guestfs(environment=False)
    with handle as g:
        looks: tuple[Callable[[Guestfs], Iterator[Finding]], ...] = (
            _libguestfs,
            _qemu,
            _sandbox,
            _kvm,
            _kernel,
            _appliance,
            _inspection,
            _memory,
            _places,
            _container,
        )
        findings += [finding for look in looks for finding in _guarded(look, g)]
    return tuple(findings)


def _guarded(look: Callable[[Guestfs], Iterator[Finding]], g: Guestfs) -> Iterator[Finding]:
    """Turn a failed check into a finding, so that the others still run."""
    try:
        yield from look(g)
    except (OSError, subprocess.SubprocessError, Error) as error:
        message, remedy = said(error)
        name = look.__name__.strip("_")
        yield Finding(name=name, level="error", message=" ".join(message.split()), remedy=remedy)


def _libguestfs(g: Guestfs) -> Iterator[Finding]:
    seen = g.version()
    number = f"{seen['major']}.{seen['minor']}.{seen['release']}"
    yield Finding(name="libguestfs", level="ok", message=f"libguestfs {number}{seen['extra']}")
    backend = g.get_backend()
    if backend != "direct":
        yield Finding(
            name="backend",
            level="warning",
            message=f"LIBGUESTFS_BACKEND says {backend}: fast appliances and safe disks need direct",
            remedy="unset LIBGUESTFS_BACKEND",
        )


def _qemu(g: Guestfs) -> Iterator[Finding]:
    path = hypervisor_file(g)
    install = install_command("qemu")
    if path is None:
        yield Finding(name="qemu", level="error", message=f"{g.get_hv()} cannot be run", remedy=install)
    else:
        said = subprocess.run([path, "--version"], capture_output=True, check=False, timeout=30)
        line = os.fsdecode(said.stdout.partition(b"\n")[0])
        if said.returncode == 0:
            yield Finding(name="qemu", level="ok", message=f"{path}: {line}")
        else:
            why = f"{path} --version ends with {said.returncode}"
            yield Finding(name="qemu", level="error", message=why, remedy=install)
    if shutil.which("qemu-img") is None:
        yield Finding(
            name="qemu-img",
            level="warning",
            message="qemu-img cannot be run: no disk can be converted, none be opened for writing",
            remedy=install_command("qemu-img"),
        )


def _sandbox(g: Guestfs) -> Iterator[Finding]:
    if hypervisor_file(g) is None:  # _qemu reports it
        return
    usable, reason = _native.sandbox_status(g.get_hv())
    if usable:
        strict = "can be" if _native.landlock_version() else "cannot be, without Landlock in this kernel,"
        message = f"QEMU filters its system calls (seccomp), and {strict} shut in (sandbox=strict)"
        yield Finding(name="sandbox", level="ok", message=message)
    else:
        message = f"a disk that takes QEMU over can run programs as this user: {reason}"
        yield Finding(name="sandbox", level="warning", message=message)


def _kvm(g: Guestfs) -> Iterator[Finding]:
    usable, reason = _native.kvm_status(g.get_hv())
    if usable:
        yield Finding(name="kvm", level="ok", message="KVM works")
        return
    closed = KVM.exists() and not os.access(KVM, os.R_OK | os.W_OK)
    remedy = f"sudo usermod -aG {shlex.quote(group)} $USER" if closed and (group := _group_of(KVM)) else ""
    message = f"the appliance is emulated, several times slower: {reason}"
    yield Finding(name="kvm", level="warning", message=message, remedy=remedy)


def _group_of(device: Path) -> str:
    """Return the group that can use the device; "" if there is none but root's, or it has no name."""
    seen = device.stat()
    if seen.st_mode & 0o060 != 0o060 or seen.st_gid == 0:
        return ""
    try:
        return grp.getgrgid(seen.st_gid).gr_name
    except KeyError:  # the host's, in a container
        return ""


def _kernel(g: Guestfs) -> Iterator[Finding]:
    kernels = appliance.kernels()
    # An appliance that is ready, as one that root has built for all, has its own.
    level: Level = "warning" if _best(appliance.appliances()) else "error"
    shut = [kernel for kernel in kernels if not os.access(kernel, os.R_OK)]
    if not kernels:
        yield Finding(
            name="kernel",
            level=level,
            message="there is no kernel in /boot or /lib/modules, of which the appliance is made",
            remedy=install_command("kernel"),
        )
    elif shut:
        yield Finding(
            name="kernel",
            level=level,
            message=f"{' '.join(map(str, shut))} cannot be read by this user",
            remedy=f"sudo chmod 0644 {shlex.join(map(str, shut))}",
        )
    else:
        yield Finding(name="kernel", level="ok", message=f"{kernels[-1]} can be read")


def _appliance(g: Guestfs) -> Iterator[Finding]:
    found = appliance.appliances()
    if ready := _best(found):
        mode, directory = ready[0], ready[1].directory
        reason = "" if _native.kvm_status(g.get_hv())[0] else _native.template_reason(directory)
        if mode == "warm" or not reason:
            yield Finding(name="appliance", level="ok", message=f"a {mode} appliance is ready: {directory}")
        else:
            message = f"a lean appliance is ready, but no warm one, which launches much faster: {reason}"
            yield Finding(name="appliance", level="warning", message=message, remedy=_building())
        return
    places = " or ".join(map(str, appliance.search_path()))
    fault = f"{found[-1].directory}: {found[-1].fault}" if found else f"none has been built in {places}"
    message = f"there is no fast appliance, launches take several times as long: {fault}"
    yield Finding(name="appliance", level="warning", message=message, remedy=_building())


def _inspection(g: Guestfs) -> Iterator[Finding]:
    seen = g.version()
    if unknown := _native.unknown_rules(seen["major"], seen["minor"], seen["release"], seen["extra"]):
        message = f"libguestfs inspects every guest, several times slower: {unknown}"
        yield Finding(name="inspection", level="warning", message=message)
    else:
        message = "guestkit's own rules are those of this libguestfs"
        yield Finding(name="inspection", level="ok", message=message)


def _best(found: list[appliance.Appliance]) -> tuple[ApplianceMode, appliance.Appliance] | None:
    """Return the fastest good appliance and its mode."""
    good = [one for one in found if not one.fault]
    warm = [one for one in good if one.directory.name.startswith("warm-")]
    return ("warm", warm[0]) if warm else ("lean", good[0]) if good else None


def _mode(g: Guestfs) -> ApplianceMode:
    """Return which appliance a launch uses here by default."""
    if g.get_backend() != "direct":
        return "system"
    if os.environ.get("LIBGUESTFS_PATH"):
        return "fixed"
    if os.environ.get("LIBGUESTFS_HV") or os.environ.get("LIBGUESTFS_QEMU"):
        return "system"
    try:
        ready = _best(appliance.appliances())
    except (OSError, Error):  # _appliance reports it
        return "system"
    return ready[0] if ready else "system"


def _building() -> str:
    """Return the command that builds an appliance in a directory this user can write."""
    command = "guestkit appliance build"
    try:
        place = appliance.cache_directory()
        there = next(folder for folder in (place, *place.parents) if os.path.exists(folder))
        if os.access(there, os.W_OK | os.X_OK):
            return command
    except Error:  # no home directory
        pass
    # mktemp, because another user could predict a fixed name and create it first.
    return f"export GUESTKIT_CACHEDIR=$(mktemp -d /var/tmp/guestkit-XXXXXX); {command}"


def _memory(g: Guestfs) -> Iterator[Finding]:
    available = _native.available_memory()
    taken = _native.appliance_memory(_mode(g))
    count = available // taken
    if available >= 1 << 62:
        yield Finding(name="memory", level="warning", message="/proc does not tell how much there is")
    elif count:
        message = f"{_gb(available)} available here, control group included: {count} appliances at once"
        yield Finding(name="memory", level="ok", message=message)
    else:
        message = f"{_gb(available)} available here, control group included: an appliance takes {_gb(taken)}"
        yield Finding(name="memory", level="error", message=message)


def _places(g: Guestfs) -> Iterator[Finding]:
    yield _place("temporary files", Path(g.get_tmpdir()), ROOM, _elsewhere("TMPDIR"))
    if os.environ.get("TMPDIR", "").rstrip("/") in ("", "/tmp"):
        yield _place("QEMU's temporary files", QEMU_PLACE, QEMU_ROOM, "export TMPDIR=/tmp/.")
    yield _place("libguestfs' cache", Path(g.get_cachedir()), CACHE_ROOM, _elsewhere("LIBGUESTFS_CACHEDIR"))
    own = Path(g.get_cachedir()) / f".guestfs-{os.geteuid()}"
    if os.path.lexists(own) and (why := _not_own(own.lstat())):
        message = f"{own} {why}, and libguestfs will not use it"
        remedy = f"sudo rm -r {shlex.quote(str(own))}"
        yield Finding(name="libguestfs' cache", level="error", message=message, remedy=remedy)
    for cache in appliance.search_path():
        if os.path.exists(cache) and (fault := _native.private_directory_fault(cache)):
            own_one = cache.stat().st_uid == os.geteuid() and not cache.is_symlink()
            remedy = f"chmod 700 {shlex.quote(str(cache))}" if own_one else ""
            yield Finding(name="guestkit's cache", level="warning", message=fault, remedy=remedy)


def _not_own(seen: os.stat_result) -> str:
    """Return why libguestfs takes this for no directory of this user; "" if it does."""
    if seen.st_uid != os.geteuid():
        return "belongs to another user"
    return "" if stat.S_ISDIR(seen.st_mode) else "is not a directory"


def _elsewhere(variable: str) -> str:
    return f'mkdir -p "$HOME/tmp" && export {variable}="$HOME/tmp"'


def _place(name: str, path: Path, room: int, remedy: str) -> Finding:
    if not os.path.isdir(path):
        return Finding(name=name, level="error", message=f"{path} is no directory", remedy=remedy)
    if not os.access(path, os.W_OK | os.X_OK):
        message = f"{path} cannot be written by this user"
        return Finding(name=name, level="error", message=message, remedy=remedy)
    free = shutil.disk_usage(path).free
    if free < room:
        message = f"{path} has {_gb(free)} left, and {_gb(room)} may be needed"
        return Finding(name=name, level="warning", message=message, remedy=remedy)
    return Finding(name=name, level="ok", message=f"{path} has {_gb(free)} left")


def _container(g: Guestfs) -> Iterator[Finding]:
    if not any(Path(sign).exists() for sign in ("/.dockerenv", "/run/.containerenv")):
        return
    if KVM.exists():
        yield Finding(name="container", level="ok", message="this is a container, with /dev/kvm")
    else:
        message = "this is a container without /dev/kvm: it is to be started with --device /dev/kvm"
        yield Finding(name="container", level="warning", message=message)


def _gb(size: int) -> str:
    return f"{size / (1 << 30):.1f} GiB"
