"""What tells whether a guest's disks are the same as before: the files they lie in, and the times of these.

ctime is what a program cannot set: it moves on whenever a file is written, renamed or replaced, also by one
that puts mtime back. Where the host does not keep it reliably, there is no identity.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import signal
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from guestkit import _native
from guestkit._text import without_secrets
from guestkit.disks import PlainDisk
from guestkit.errors import Error
from guestkit.opening import OpenDiskOptions

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath

#: Filesystems of this host's own kernel that set ctime at each change, in parts of a second. On others, such
#: as NFS, SMB, FUSE or FAT, another host or a program decides what ctime is.
_RELIABLE = frozenset(("ext2", "ext3", "ext4", "xfs", "btrfs", "bcachefs", "f2fs", "zfs", "tmpfs"))

#: A file that changed less than this ago, in nanoseconds, can change again with the same ctime.
_MOMENT = 2_000_000_000

#: How much of each file's beginning is part of its identity, in bytes: the headers of all formats.
_HEADER = 64 << 10


class Unidentified(Exception):
    """The disks have no identity that can be relied on; the text names the disk and says why."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What the disks are. Two that are equal mean the same content.

    Attributes:
        text: all of it
        young: a file that may change again without another identity, and why; "": there is none
    """

    text: str
    young: str


def identify(disks: Sequence[PlainDisk]) -> Identity:
    """Return the identity of a guest's disks, with every file that they refer to.

    Raises Unidentified if they have none, or if the options do not permit to open them.
    """
    now = time.time_ns()
    files, young = [], ""
    for disk in disks:
        name = os.fsdecode(disk.path)
        if "://" in name:
            raise Unidentified(f"{without_secrets(name)}: is reached through the network")
        files.append(f"{os.path.abspath(name)} {disk.options.format!r}")
        for status, header in _files(disk.path, disk.options):
            if now - status.st_ctime_ns < _MOMENT:
                young = f"{name}: has changed a moment ago"
            seen = ("dev", "ino", "size", "mtime_ns", "ctime_ns")
            files.append(" ".join([*(str(getattr(status, f"st_{field}")) for field in seen), header]))
    return Identity(json.dumps(files), young)


def _files(disk: StrOrBytesPath, opening: OpenDiskOptions) -> list[tuple[os.stat_result, str]]:
    """Return the status and the hash of the header of each file that an inspection would open."""
    name = os.fsdecode(disk)
    opening = replace(opening, snapshot=None)  # all of them lie in the same files
    if opening.finds_packed(disk):  # the bytes that are unpacked
        opening = replace(opening, format="raw", unpack=None)
    try:
        info, _, descriptors = _native.check_disk("inspect", disk, opening.native("inspect"), False)
    except (Error, OSError) as error:
        raise Unidentified(str(error)) from error
    try:
        if info["in_use"]:
            raise Unidentified(f"{name}: another program writes to it")
        others = (one for one in descriptors[1:] if not _is_of_guestkit(one))
        files = [descriptors[0], *others]  # the first one is the disk's own
        for one in files:
            _check(one, name)
        return [(os.fstat(one), _header(one)) for one in files]
    finally:
        for one in descriptors:
            os.close(one)


def _is_of_guestkit(descriptor: int) -> bool:
    """Return whether the file is one without a name, in which `check_disk` describes the others."""
    named = os.readlink(f"/proc/self/fd/{descriptor}") == "/memfd:guestkit (deleted)"
    return named and os.fstat(descriptor).st_dev == _device_of_nameless_files()


def _check(descriptor: int, disk: str) -> None:
    """Raise Unidentified if this is no file with a reliable ctime, or if somebody writes to it."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise Unidentified(f"{disk}: is no regular file")
    if (filesystem := _filesystem(descriptor)) not in _RELIABLE:
        raise Unidentified(f"{disk}: lies on {filesystem}, which does not tell reliably when a file changed")
    if _has_writer(descriptor):
        raise Unidentified(f"{disk}: another program has it open for writing")


def _device_of_nameless_files() -> int:
    descriptor = os.memfd_create("guestkit")
    try:
        return os.fstat(descriptor).st_dev
    finally:
        os.close(descriptor)


def _filesystem(descriptor: int) -> str:
    """Return the type of the filesystem that the file lies on.

    It is found by the mount: a file's st_dev on btrfs is not that of the mount.
    """
    found = re.search(r"^mnt_id:\s*(\d+)$", Path(f"/proc/self/fdinfo/{descriptor}").read_text(), re.MULTILINE)
    with open("/proc/self/mountinfo", "rb") as table:
        for line in table:
            # 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
            number, _, rest = line.partition(b" ")
            if found and number == found[1].encode():
                return os.fsdecode(rest.partition(b" - ")[2].split(b" ")[0])
    return "an unknown filesystem"


def _has_writer(descriptor: int) -> bool:
    """Return whether a program has the file open for writing, as far as the kernel tells this user.

    What a program writes through memory that it has mapped need not move ctime on at once.
    """
    try:
        # A lease on a file can be had while nobody writes to it. If somebody opens it in this very moment,
        # this process gets a signal: one that does nothing, in place of SIGIO, which would end it.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:  # another user's file, or a filesystem without leases
        return False
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def _header(descriptor: int) -> str:
    return hashlib.sha256(os.pread(descriptor, _HEADER, 0)).hexdigest()
