"""A guest's files in a directory of this host, by FUSE: for tools that read files and know nothing of disks.

The host's kernel follows symlinks itself, so that an absolute one of the guest's leads to this host's files.
A program that reads a stranger's disk has to be kept inside of the directory, as by a container or chroot(2).
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from guestkit import _native
from guestkit._programs import readable
from guestkit.errors import Error
from guestkit.handle import Guestfs, check_blocking

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath

#: How long a call in the guest may still take when a mount is ended by force, in seconds.
_GRACE = 10

#: What the kernel calls the source of a mount: it has the number of the process that serves it.
_SOURCE = re.compile(r"guestkit-(in-)?([0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class Mount:
    """A directory at which a guest's files are.

    Attributes:
        server: the process that serves them, as it says itself; None if it is none of guestkit's
        dedicated: whether that process does nothing else
        user: who mounted it
    """

    directory: str
    server: int | None
    dedicated: bool
    user: int
    readonly: bool


def mountpoint(directory: StrOrBytesPath) -> str:
    """Return the directory's absolute path; raise Error if no guest can be mounted there."""
    return _native.mountpoint(directory)


def serve(
    g: Guestfs,
    directory: StrOrBytesPath,
    *,
    readonly: bool = True,
    allow_other: bool = False,
    ready: Callable[[], object] = lambda: None,
) -> None:
    """Serve the filesystems that are mounted in the handle at the directory, until it is unmounted.

    For a process that does nothing else: `unmount` waits for its end, and ends it if it is forced to.
    Other programs use `Guestfs.mounted`. Returns when the directory was unmounted, by whomever. An exception
    in this thread, as by Ctrl-C, unmounts it. Raises Error as `Guestfs.mounted` does.

    allow_other: other users may look, too; for a user who is not root /etc/fuse.conf has to permit it
    ready: called when the directory can be used
    """
    check_blocking("serve", g)
    g._mount(directory, readonly, allow_other, True)
    try:
        ready()
        g._await_unmount()
    finally:
        g._unmount()


def _look(path: str, patience: float) -> OSError | None:
    """Look at a file; return what is wrong: TimeoutError, if nobody answers within the seconds."""
    wrong: list[OSError] = []

    def look() -> None:
        try:
            os.statvfs(path)
        except OSError as error:
            wrong.append(error)

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    looking.join(patience)
    if looking.is_alive():
        return TimeoutError()
    return wrong[0] if wrong else None


def _lost(directory: str) -> Error:
    return Error(
        "unmount", f"{directory}: the hypervisor has ended: what was written last may be lost", errno.EIO
    )


def unmount(directory: StrOrBytesPath, *, force: bool = False, timeout: float = 60) -> None:
    """Unmount a guest's files, and return when the hypervisor has let go of the disk.

    What a program of yours mounted by `Guestfs.mounted` is unmounted, too, but the program keeps its disk. A
    directory whose server was killed is unmounted although programs sit in it. Raises Error: nothing of
    guestkit's is mounted there, or programs use it (errno.EBUSY); or it is unmounted, but the process still
    has the disk (ETIMEDOUT), or what was written last may be lost (EIO).

    force: although programs use the directory: their next access fails. If the guest does not answer, its
        hypervisor is killed. Programs in a directory of `Guestfs.mounted` can use it until that ends
    timeout: seconds to wait for the end of the process that served the files
    """
    name = os.fsdecode(directory)
    mount = _guest_at(name)
    with contextlib.ExitStack() as stack:
        server = _server(mount, stack) if mount.dedicated else None
        wrong = None if mount.readonly and server is not None else _look(mount.directory, _GRACE)
        dead = wrong is not None and wrong.errno == errno.ENOTCONN
        if force and server is not None:
            _end(server)
        else:
            done = _fusermount("-u", *(["-z"] if force or dead else []), mount.directory)
            if mount_at(mount.directory) == mount:  # the exit status may be lost, as where SIGCHLD is ignored
                _fail_to_unmount(name, mount, done.stderr.strip())
        if server is not None and not _has_ended(server, timeout):
            raise Error(
                "unmount",
                f"{name}: after {timeout:g} s process {mount.server} still has the disk",
                errno.ETIMEDOUT,
                "unknown",
                "end that process" if force else "",
            )
        if force and mount_at(mount.directory):  # of a killed server
            _fusermount("-u", "-z", mount.directory)
        # Without force, a guest that was slow to answer has written all that it had.
        if wrong is not None and not mount.readonly and (force or not isinstance(wrong, TimeoutError)):
            raise _lost(name)


def _end(server: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
        signal.pidfd_send_signal(server, signal.SIGTERM)
        if not _has_ended(server, 2 * _GRACE):
            signal.pidfd_send_signal(server, signal.SIGKILL)


def _guest_at(directory: str) -> Mount:
    # The directory itself is not looked at, since its server may hang, unless it is a symlink to it.
    above, name = os.path.split(os.path.abspath(directory))
    mount = mount_at(os.path.join(os.path.realpath(above), name)) or mount_at(os.path.realpath(directory))
    if mount is None or mount.server is None:
        raise Error("unmount", f"{directory}: no guest is mounted there", errno.EINVAL)
    return mount


def _server(mount: Mount, stack: contextlib.ExitStack) -> int | None:
    """Open the process that serves the mount; None: it has ended, or cannot be seen from here."""
    assert mount.server is not None
    with contextlib.suppress(OSError):
        process = os.pidfd_open(mount.server)
        stack.callback(os.close, process)
        # Whoever mounts chooses the number: it has to be a process of the same user's that serves something.
        place = Path("/proc", str(mount.server))
        if place.stat().st_uid == mount.user and any(
            os.readlink(file) == "/dev/fuse" for file in (place / "fd").iterdir()
        ):
            return process
    return None


def _has_ended(process: int, timeout: float) -> bool:
    return bool(readable([process], timeout))


def _fail_to_unmount(directory: str, mount: Mount, said: str) -> None:
    users = ", ".join(_users(mount.directory))
    if users or "busy" in said:
        raise Error(
            "unmount",
            f"{directory}: is in use{f' by {users}' if users else ''}",
            errno.EBUSY,
            "unknown",
            "end these programs; force=True unmounts it all the same",
        )
    raise Error("unmount", f"{directory}: {said}", errno.EPERM)


def mount_at(path: str) -> Mount | None:
    """Return what FUSE has mounted there last; None: nothing. The path is absolute and without symlinks."""
    found = None
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        for line in table:  # see proc_pid_mountinfo(5)
            before, _, after = line.rstrip("\n").partition(" - ")
            kind, source, options = after.split(" ", 2)
            if _unescaped(before.split(" ")[4]) != path or not kind.startswith("fuse"):
                continue
            named = _SOURCE.fullmatch(source) if kind == "fuse.guestkit" else None
            user = re.search(r"\buser_id=([0-9]+)", options)
            readonly = "ro" in before.split(" ")[5].split(",")
            found = Mount(
                directory=path,
                server=int(named[2]) if named else None,
                dedicated=named is not None and not named[1],
                user=int(user[1]) if user else -1,
                readonly=readonly,
            )
    return found


def _unescaped(text: str) -> str:
    whole = re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8)]), os.fsencode(text))
    return os.fsdecode(whole)


def _users(directory: str) -> Iterator[str]:
    """Yield the visible programs that have the directory or a file in it open, as "NAME (PID)"."""
    below = directory.rstrip("/") + "/"
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            links = [process / "cwd", process / "root", *(process / "fd").iterdir()]
            if any((os.readlink(link) + "/").startswith(below) for link in links):
                yield f"{(process / 'comm').read_text(errors='replace').strip()} ({process.name})"


def _program() -> str | None:
    """Return the program that what mounts takes, too: the first in PATH by either name."""
    folders = [folder for folder in os.environ.get("PATH", "/usr/bin:/bin").split(":") if folder[:1] == "/"]
    found = (f"{folder}/{name}" for folder in folders for name in ("fusermount3", "fusermount"))
    return next((path for path in found if os.access(path, os.X_OK)), None)


def _fusermount(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = _program() or "fusermount3"
    try:
        return subprocess.run(
            [program, *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            # It runs umount(8), whose "busy" is in the user's language and can be told by no exit status.
            env={**os.environ, "LC_ALL": "C"},
        )
    except OSError as error:
        return subprocess.CompletedProcess(program, 127, "", f"{program}: {error.strerror}")
