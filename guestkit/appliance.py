"""The fast appliances: built from the installed libguestfs, kept in a private cache, quick to launch.

The lean appliance is a *fixed appliance* as documented by libguestfs (libguestfs-make-fixed-appliance(1)).
The warm one is a snapshot of it and lies in its directory. A handle picks the best one, or uses the one you
name: ``Guestfs(appliance=build().directory)``. A manifest beside an appliance's files records what it was
built from and the size of each file. An appliance that no longer matches its manifest is not used.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from guestkit import __version__, _initrd, _kernel_image, _native
from guestkit._programs import LOST, Program, lost
from guestkit._system import hint
from guestkit._template import NotEmulated, build_template, hypervisor_file, machine_command
from guestkit.errors import ApplianceError, Error, said
from guestkit.generated.values import ApplianceMode, Cause
from guestkit.handle import Guestfs

__all__ = [
    "SYSTEM_CACHE",
    "Appliance",
    "ApplianceError",
    "appliances",
    "build",
    "cache_directory",
    "check",
    "own_cache",
    "remove",
    "search_path",
]

#: Where root may keep appliances for every user of the host.
SYSTEM_CACHE = Path(_native.system_appliance_cache())

FORMAT = "guestkit-appliance 2"
HALF_A_DAY = 12 * 3600  # seconds
#: The file in a lean appliance's directory that says which host has built it, where several share a home.
HOST = "host"
#: The files of a lean appliance: those of a fixed one, the program that shuts QEMU in where that is asked for
#: and what it runs, and HOST.
FILES = ("kernel", "initrd", "root", "README.fixed", "cage", "command", HOST)

#: supermin copies files from installed packages, so the appliance is rebuilt when one of these changes.
PACKAGE_DATABASES = tuple(
    map(
        Path,
        (
            "/var/lib/dpkg/status",
            "/var/lib/rpm/rpmdb.sqlite",
            "/var/lib/rpm/Packages",  # RHEL 8
            "/usr/lib/sysimage/rpm/rpmdb.sqlite",
            "/usr/lib/sysimage/rpm/Packages.db",  # openSUSE
            "/var/lib/pacman/local",
            "/lib/apk/db/installed",
        ),
    )
)

#: The file in a lean appliance's directory that says why no warm one could be made of it: launches tell it.
FAILURE = "no-warm-appliance"

_log = logging.getLogger("guestkit")


@dataclass(frozen=True)
class Appliance:
    """A built appliance."""

    directory: Path
    """For `Guestfs(appliance=…)` or `Guestfs.set_path`."""
    fault: str
    """Why it cannot be used; empty if it is good."""


def cache_directory() -> Path:
    """Return the directory where this user's appliances are built and kept.

    That is $GUESTKIT_CACHEDIR, else guestkit/appliance in $XDG_CACHE_HOME or in ~/.cache. Raises
    ApplianceError if there is no such directory.
    """
    if not (place := _native.cache_directory()):
        raise _error(
            "there is no place for appliances: this user has no home directory",
            errno.ENOENT,
            hint="set GUESTKIT_CACHEDIR to a directory that only this user can write",
        )
    return Path(place)


def own_cache() -> Path:
    """Return `cache_directory()`, made if need be; raise ApplianceError if another user could change it."""
    return _writable(cache_directory(), 0o700)


def search_path() -> list[Path]:
    """Return the directories where a launch looks for appliances, in order.

    Only $GUESTKIT_CACHEDIR if it is set; otherwise the user's cache, then `SYSTEM_CACHE`.
    """
    return [Path(place) for place in _native.appliance_caches()]


def build(*, force: bool = False, warm: bool = True, system: bool = False) -> Appliance:
    """Build the best appliance for what is installed now, unless it exists; takes up to a minute.

    That is a warm one if appliances are emulated, and a lean one with KVM. If no warm one can be made, it is
    the lean one too; a warning in the log says why, and so does `launch_info().reason`. With warm=False it is
    always a lean one. A warm one, which is used for a day, is renewed after half of that.

    system=True builds for all users of the host, in `SYSTEM_CACHE`, and needs root. A $GUESTKIT_CACHEDIR that
    belongs to root and is readable by others serves them in the same way.

    Any number of processes may call this at once: one builds, the others wait and take its result. Appliances
    built for an earlier state of the host are removed, those of other hosts that share the cache are not.

    Raises ApplianceError if it cannot be built here, with system=True also if it is made from files that
    other users cannot reach, or if packages change meanwhile; LaunchError or another
    Error if the new appliance, which is launched once, does not start; OSError if a file cannot be read or
    written, as on a full disk.
    """
    cache = _writable(SYSTEM_CACHE, 0o755) if system else own_cache()
    if "," in str(cache):
        message = f"libguestfs launches no appliance in a directory with a comma in its name: {cache}"
        raise _error(message, errno.EINVAL, hint="set GUESTKIT_CACHEDIR to another directory")
    with _locked(cache) as lock:
        spoilt = [one for one in _lean_ones(cache) if _is_of_this_host(one) and check(one)]
        for left in (*_half_built(cache), *cache.glob("lean-*/new-*"), *spoilt):  # the new one needs the room
            shutil.rmtree(left, ignore_errors=True)
        # Before the build, so that what changes during it is noticed.
        found = _inputs()
        if system:
            _check_that_all_reach(found)
        inputs = [_row("input", path, str(path)) for path in found]
        target = cache / _key(inputs)
        command = None
        if force or check(target):
            try:
                command = _build_into(target, inputs, lock)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                # A write does not tell what it writes to, and a copy tells what it reads.
                raise OSError(error.errno, error.strerror, str(cache)) from error
        for other in _lean_ones(cache):
            if other != target and _is_of_this_host(other):
                shutil.rmtree(other, ignore_errors=True)
        if fault := check(target):
            raise _error(f"{target}: {fault}")
        return (_warm_up(target, force, command) if warm else None) or Appliance(target, "")


def appliances() -> list[Appliance]:
    """Return every appliance that a launch would find, good or not, in search order.

    A launch uses no warm one whose lean one is not good, so it has the same fault.
    """
    found: list[Appliance] = []
    for cache in search_path():
        with suppress(PermissionError):  # another user's cache: a launch cannot use it either
            for lean in _lean_ones(cache):
                fault = check(lean)
                found.append(Appliance(lean, fault))
                with suppress(PermissionError):
                    found += [Appliance(warm, check(warm) or fault) for warm in _within(lean, "warm-")]
    return found


def _lean_ones(cache: Path) -> list[Path]:
    return _within(cache, "lean-")


def _half_built(cache: Path) -> list[Path]:
    """Return what builds that were killed have left; while the lock is held, no other build is at work."""
    return _within(cache, "new-")


def _is_of_this_host(lean: Path) -> bool:
    """Return whether it was built here, not on another host that has the same home, with other packages."""
    try:
        return (lean / HOST).read_text(encoding="ascii", errors="replace") == _host()
    except FileNotFoundError:
        return True


def _host() -> str:
    """Return what tells this host from others; "" in most containers, which are all alike."""
    try:
        machine = Path("/etc/machine-id").read_bytes().strip()
    except OSError:
        return ""
    # machine-id(5) asks to keep the number itself from others.
    return hashlib.sha256(b"guestkit " + machine).hexdigest()[:16] if machine else ""


def _within(directory: Path, prefix: str) -> list[Path]:
    """Return the entries with that prefix. Raises PermissionError, which `Path.glob` may swallow."""
    try:
        names = os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(directory / name for name in names if name.startswith(prefix))


def remove(*, system: bool = False) -> None:
    """Remove every appliance from the user's cache, or from the system's.

    Running appliances are not affected: they keep their files open. Raises ApplianceError if this user may
    not change the cache; OSError if something in it cannot be removed, once all else is.
    """
    cache = SYSTEM_CACHE if system else cache_directory()
    try:
        present = (*_lean_ones(cache), *_half_built(cache))
    except PermissionError as error:
        raise _error(f"{cache} cannot be read by this user", errno.EACCES) from error
    if present:
        with _locked(_writable(cache, 0o700)):
            failures: list[OSError] = []
            for one in (*_half_built(cache), *_lean_ones(cache)):
                try:
                    # First out of sight: launches write to those that they see, and NFS keeps open files.
                    hidden = one.name.startswith("new-")
                    shutil.rmtree(one if hidden else one.rename(cache / f"new-{one.name}"))
                except OSError as error:
                    failures.append(error)
            if failures:
                raise failures[0]


def check(directory: Path) -> str:
    """Return why an appliance must not be used; "" if it may."""
    return _native.appliance_fault(directory)


def _error(message: str, number: int = 0, cause: Cause = "unknown", hint: str = "") -> ApplianceError:
    return ApplianceError("appliance", message, number, cause, hint)


# ---- the private directory


def _writable(directory: Path, mode: int) -> Path:
    """Return the directory; create it and missing parents with that mode.

    Raises ApplianceError if another user could change it.
    """
    if fault := _native.make_private_directory(directory, mode):
        raise _error(fault)
    return directory


def _modes(cache: Path) -> int:
    """Return the mode mask for files in the cache: whoever can read the cache can read its files."""
    return cache.stat().st_mode & 0o755


@contextmanager
def _locked(cache: Path) -> Iterator[int]:
    """Hold the cache's lock. Yields its descriptor: a child that inherits it holds the lock as well."""
    descriptor = os.open(cache / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


# ---- the inputs


#: What goes into the root image.
PROGRAMS = ("appliance-init", "appliance-settle", "appliance-preload.so")
#: What runs in the place of QEMU.
HYPERVISOR = "appliance-hypervisor"


def _programs() -> Path:
    """Return the directory where `PROGRAMS` were built or installed."""
    extension = Path(_native.__file__).resolve().parent
    for place in (extension, extension.parent / "appliance"):
        if (place / "appliance-init").exists():
            return place
    raise _error(f"guestkit's appliance programs ({', '.join(PROGRAMS)}) are not installed", errno.ENOENT)


def _supermin_directory() -> Path:
    with Guestfs(environment=False) as g:
        search = g.get_path()
    for folder in search.split(":"):
        if (Path(folder) / "supermin.d").is_dir():
            return Path(folder) / "supermin.d"
    raise _error(f"libguestfs' supermin.d was not found in {search}", errno.ENOENT, "appliance_damaged")


def kernels() -> list[Path]:
    """Return the kernels of which supermin may choose, readable or not."""
    # Fedora's packages put it beside its modules; in a container nothing copies it to /boot.
    found = (*Path("/lib/modules").glob("*/vmlinuz"), *Path("/boot").glob("vmlinu*"))
    # A link may lead to one that was removed, or give one of the others a second name.
    return sorted({path.resolve() for path in found if os.path.exists(path)})


def _inputs() -> list[Path]:
    supermin = _supermin_directory()
    programs = _programs()
    found = kernels()
    for kernel in found:
        if not os.access(kernel, os.R_OK):
            message = f"{kernel} is not readable"
            command = f"sudo chmod 0644 {shlex.quote(str(kernel))}"
            raise _error(message, errno.EACCES, "kernel_unreadable", command)
    if not found:
        message = "there is no kernel in /boot or /lib/modules"
        raise _error(message, errno.ENOENT, "kernel_unreadable", hint("kernel"))
    packages = [path for path in PACKAGE_DATABASES if path.exists()]
    return [
        *found,
        _qemu(),
        *packages,
        *sorted(supermin.iterdir()),
        *(programs / name for name in (*PROGRAMS, HYPERVISOR)),
    ]


def _check_that_all_reach(inputs: Iterable[Path]) -> None:
    """Raise ApplianceError if other users cannot: their launches look whether these files have changed."""
    for path in inputs:
        for folder in (*path.absolute().parents, *path.resolve().parents):
            if not folder.stat().st_mode & 0o001:
                message = f"other users cannot look at {path}, of which it is made: {folder} is closed"
                passing = f"chmod o+x {shlex.quote(str(folder))}"
                remedy = f"have it elsewhere, such as guestkit in /opt, or let them pass: {passing}"
                raise _error(message, errno.EACCES, hint=remedy)


def _qemu() -> Path:
    with Guestfs(environment=False) as g:
        name, qemu = g.get_hv(), hypervisor_file(g)
    if qemu is None:
        raise _error(f"{name} was not found", errno.ENOENT, "qemu_missing", hint("qemu"))
    return qemu


def _row(kind: str, path: Path, name: str) -> str:
    seen = path.stat()
    # In whole seconds: the layers of a container's image, tar and rsync keep no more.
    return f"{kind} {seen.st_size} {seen.st_mtime_ns // 10**9} {name}"


def _write_manifest(made: Path, inputs: Iterable[str], files: Iterable[str]) -> None:
    rows = [*inputs, *(_row("file", made / name, name) for name in files)]
    manifest = made / "manifest"
    manifest.write_bytes(os.fsencode("\n".join([FORMAT, *rows]) + "\n"))
    manifest.chmod(0o644 & _modes(made))


def _key(inputs: list[str]) -> str:
    text = "\n".join([FORMAT, __version__, *inputs])
    return "lean-" + hashlib.sha256(os.fsencode(text)).hexdigest()[:16]


# ---- the build


def _build_into(target: Path, inputs: list[str], lock: int) -> list[bytes]:
    """Build the lean appliance; return the command of its machine, as `machine_command` does.

    inputs: their rows of the manifest
    """
    with tempfile.TemporaryDirectory(prefix="new-", dir=target.parent, ignore_cleanup_errors=True) as scratch:
        made = Path(scratch) / "appliance"
        _run(
            "supermin", "--build", "--copy-kernel", "-f", "ext2", "--host-cpu", os.uname().machine,
            str(_supermin_directory()), "-o", str(made),
            temporary=scratch, lock=lock,
        )  # fmt: skip
        modes = _modes(target.parent)
        made.chmod(0o755 & modes)
        _rewrite(made / "kernel", _kernel_image.unpacked)
        _rewrite(made / "initrd", _initrd.slim)
        _replace_programs(made / "root", Path(scratch), lock)
        (made / "README.fixed").write_text(
            "guestkit's lean appliance: see libguestfs-make-fixed-appliance(1)\n"
        )
        shutil.copyfile(_programs() / HYPERVISOR, made / "cage")
        (made / "command").write_bytes(os.fsencode(_qemu()) + b"\0")
        (made / HOST).write_text(_host())
        (made / "probes").mkdir()
        (made / "probes").chmod(0o700)
        for name in FILES:
            (made / name).chmod((0o755 if name == "cage" else 0o644) & modes)
        _write_manifest(made, inputs, FILES)
        if fault := check(made):
            raise _error(fault, hint="build it again")
        command = _try_out(made, "lean")
        if target.exists():  # moved, because on NFS nobody can remove what a running appliance has open
            target.rename(Path(scratch) / "old")
        made.rename(target)
        return [word.replace(os.fsencode(made), os.fsencode(target)) for word in command]


def _rewrite(file: Path, change: Callable[[bytes], bytes]) -> None:
    try:
        file.write_bytes(change(file.read_bytes()))
    except ValueError as error:
        raise _error(f"supermin's {file.name}: {error}", cause="appliance_build") from error


def _run(*command: str, temporary: str, lock: int, folder: Path | None = None) -> None:
    """Run a program to its end. It inherits the lock: if this process dies, the next build waits for it."""
    pipe = subprocess.PIPE
    environment = {**os.environ, "TMPDIR": temporary}
    try:
        with Program(
            command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, env=environment, pass_fds=(lock,),
            cwd=folder,
        ) as process:  # fmt: skip
            try:
                complaint = process.communicate()[1].decode(errors="replace").strip()
            except BaseException:
                process.kill()
                raise
    except OSError as error:
        missing = isinstance(error, FileNotFoundError) and command[0] == "supermin"
        message = f"{command[0]} cannot be run ({error.strerror})"
        raise _error(message, error.errno or 0, hint=hint("supermin") if missing else "") from error
    if process.returncode == LOST:
        raise _error(lost(command[0]), errno.ECHILD)
    if process.returncode != 0:
        message = f"{command[0]} failed: {complaint[-500:]}"
        raise _error(message, cause="appliance_build" if command[0] == "supermin" else "unknown")


def _warm_up(lean: Path, force: bool, command: list[bytes] | None) -> Appliance | None:
    """Return a good warm appliance, built anew unless it is fresh; log and note if that fails.

    command: of the lean one's machine; None: it is found out by a launch
    """
    present = sorted(lean.glob("warm-*"))
    good = [path for path in present if not check(path)]
    old = Appliance(good[-1], "") if good else None
    # Who builds it every day must not find it good for the last minutes of its day.
    fresh = [path for path in good if 0 <= time.time() - (path / "manifest").stat().st_mtime < HALF_A_DAY]
    if fresh and not force:
        return Appliance(fresh[-1], "")
    for path in {*present} - {*good}:
        shutil.rmtree(path, ignore_errors=True)
    (lean / FAILURE).unlink(missing_ok=True)
    try:
        made, inputs = build_template(lean, _programs() / HYPERVISOR, command)
    except NotEmulated:
        return None
    except (Error, OSError, subprocess.CalledProcessError) as error:
        _note_failure(lean, error)
        return old
    try:
        modes = _modes(lean)
        made.chmod(0o755 & modes)
        files = sorted(path.name for path in made.iterdir() if path.is_file())
        for name in files:
            (made / name).chmod((0o755 if name == "hypervisor" else 0o644) & modes)
        _write_manifest(made, [_row("input", path, str(path)) for path in inputs], files)
        _try_out(made, "warm", disks=3)
        target = lean / f"warm-{time.time_ns()}"
        made.rename(target)
    except (Error, OSError) as error:
        shutil.rmtree(made, ignore_errors=True)
        _note_failure(lean, error)
        return old
    for path in present:  # appliances restored from them keep the files open
        shutil.rmtree(path, ignore_errors=True)
    return Appliance(target, "")


def _note_failure(lean: Path, error: Exception) -> None:
    """Log why there is no warm appliance, and keep it for those who launch the lean one."""
    text = str(error)
    if isinstance(error, ApplianceError):  # a launch's names its call
        text = "; ".join(filter(None, said(error)))
    elif isinstance(error, subprocess.CalledProcessError) and error.stderr:
        text = f"{error}: {os.fsdecode(error.stderr)}"
    line = " ".join("".join(char if char.isprintable() else " " for char in text[-1000:]).split())
    _log.warning("there is no warm appliance: %s", line)
    with suppress(OSError):  # a full disk may be the very reason
        note = lean / FAILURE
        note.write_text(line, encoding="utf-8", errors="backslashreplace")
        note.chmod(0o644 & _modes(lean))


def _try_out(made: Path, mode: ApplianceMode, disks: int = 1) -> list[bytes]:
    """Launch the new appliance once, so that one that does not start is never installed.

    Returns the command of its machine, as `machine_command` does.
    """
    with (
        tempfile.TemporaryDirectory(dir=made.parent, prefix="new-") as folder,
        Guestfs(environment=False, appliance=made) as g,
    ):
        for number in range(1, disks + 1):
            path = Path(folder) / f"{number}.img"
            with path.open("wb") as file:
                file.truncate(number << 20)
            g.add_drive(path, format="raw", readonly=number % 2 == 1)
        g.launch()
        sizes = [g.blockdev_getsize64(name) >> 20 for name in g.list_devices()]
        info = g.launch_info()
        if sizes != list(range(1, disks + 1)):
            raise _error("the new appliance does not see its disks")
        if info is None or info.mode != mode:
            raise _error(f"the new appliance is not used: {info and info.reason}")
        return machine_command(g)


def _replace_programs(root: Path, scratch: Path, lock: int) -> None:
    """Put our programs into the root image; keep the originals of those that replace one beside them.

    The path is /bin/. because /bin is a symbolic link, and debugfs does not follow one. It runs where the
    files lie, since its script cannot name every path.
    """
    replaced = [("/", "init", "appliance-init"), ("/bin/.", "udevadm", "appliance-settle")]
    commands = []
    for folder, name, program in replaced:
        commands += [f"cd {folder}", f"dump {name} {name}", f"rm {name}"]
        commands += [f"write {name} {name}.stock", f"write {program} {name}"]
        for written in (name, f"{name}.stock"):
            commands += [f"sif {written} mode 0100755", f"sif {written} uid 0", f"sif {written} gid 0"]
    commands += ["cd /", "write appliance-preload.so guestkit-preload.so"]
    for program in PROGRAMS:
        shutil.copyfile(_programs() / program, scratch / program)
    script = scratch / "debugfs"
    script.write_text("\n".join(commands) + "\n")
    environment = {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}
    tool = shutil.which("debugfs", path=environment["PATH"])
    if tool is None:
        raise _error("debugfs was not found", errno.ENOENT, hint=hint("debugfs"))
    _run(tool, "-w", "-f", script.name, str(root), temporary=str(scratch), lock=lock, folder=scratch)
    for _, name, _ in replaced:  # debugfs reports failures only on stdout
        if not (scratch / name).exists() or not (scratch / name).stat().st_size:
            raise _error(f"the root image of libguestfs has no {name}")
