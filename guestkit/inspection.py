"""What is on a disk: its filesystems, its operating systems and their packages, as values.

    reports = asyncio.run(inspect_disks(["web.qcow2", "db.img"]))

Disks are opened read-only, each in an appliance of its own. A disk that fails spoils nothing: its report
says why.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import re
import stat
import struct
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from guestkit._executor import shared_executor
from guestkit.aio import AsyncGuestfs
from guestkit.errors import ApplianceCrashed, Error, LaunchError

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath

log = logging.getLogger("guestkit")

SCHEMA = "guestkit.inspection/1"

MAX_APPLIANCES = 4  # each takes hundreds of MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """An installed package, in the terms of its package format. The texts are the guest's: hostile."""

    name: str
    epoch: int
    version: str
    release: str
    arch: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingSystem:
    """An operating system on a disk. libguestfs says "unknown", and 0 for versions, where it cannot tell.

    Attributes:
        root: the filesystem that holds it
        mountpoints: mountpoint to filesystem, shorter mountpoints first
        filesystems: what belongs to it, mounted or not
        applications_error: why the packages could not be listed; None when they were
    """

    root: str
    type: str
    distro: str
    product_name: str
    major_version: int
    minor_version: int
    arch: str
    hostname: str
    package_format: str
    package_management: str
    mountpoints: Mapping[str, str]
    filesystems: Sequence[str]
    applications: Sequence[Application]
    applications_error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a disk could not be inspected: one sentence that names the disk, errno or 0, the action."""

    message: str
    errno: int
    op: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What inspecting one disk gave. `filesystems` maps each device to its type, such as "ext4"."""

    schema: str = field(default=SCHEMA, init=False)
    disk: str
    error: Failure | None = None
    filesystems: Mapping[str, str] = field(default_factory=dict)
    operating_systems: Sequence[OperatingSystem] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the report as dictionaries and lists for `json.dumps`. Keys are only ever added."""
        return asdict(self)


def _handle() -> AsyncGuestfs:
    return AsyncGuestfs(appliance="inspection")


async def inspect_disks(
    disks: Iterable[StrOrBytesPath],
    *,
    concurrency: int | None = None,
    open_handle: Callable[[], AsyncGuestfs] = _handle,
) -> list[Report]:
    """Inspect disks, several at once; return their reports in the order of the disks.

    concurrency: how many appliances may run at once; by default as many as there are processors, at most 4
    open_handle: makes the handles, for example `functools.partial(AsyncGuestfs, accel="tcg")`
    """
    if concurrency is None:
        concurrency = min(len(os.sched_getaffinity(0)), MAX_APPLIANCES)
    if concurrency < 1:
        raise ValueError(f"concurrency must be at least 1, not {concurrency}")
    turn = asyncio.Semaphore(concurrency)

    async def inspect_in_turn(disk: StrOrBytesPath) -> Report:
        async with turn:
            return await inspect_disk(disk, open_handle=open_handle)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(inspect_in_turn(disk)) for disk in disks]
    return [task.result() for task in tasks]


async def inspect_disk(disk: StrOrBytesPath, *, open_handle: Callable[[], AsyncGuestfs] = _handle) -> Report:
    """Inspect one disk. A failure is the report's `error`; only a cancellation is raised."""
    path = os.fsencode(disk)  # bytes: the same file in every locale
    try:
        await asyncio.get_running_loop().run_in_executor(shared_executor(), check_disk, path)
        async with open_handle() as g:
            await g.add_drive(path, readonly=True)
            await g.launch()
            filesystems = await g.list_filesystems()
            systems = [await _operating_system(g, root) for root in await g.inspect_os()]
    except Error as error:
        failure = Failure(message=_naming(_shown(disk), error), errno=error.errno, op=error.op)
        return Report(disk=os.fsdecode(disk), error=failure)
    except Exception as error:
        log.debug("inspecting %r failed", disk, exc_info=True)
        message = f"{_shown(disk)}: {type(error).__name__}: {' '.join(str(error).split())}"
        code = getattr(error, "errno", None) or 0
        return Report(disk=os.fsdecode(disk), error=Failure(message=message, errno=code, op="inspect"))
    return Report(disk=os.fsdecode(disk), filesystems=filesystems, operating_systems=systems)


async def _operating_system(g: AsyncGuestfs, root: str) -> OperatingSystem:
    found = await g.inspect_get_mountpoints(root)
    mountpoints = {mountpoint: found[mountpoint] for mountpoint in sorted(found, key=lambda m: (len(m), m))}
    applications, applications_error = await _applications(g, root, mountpoints)
    return OperatingSystem(
        root=root,
        type=await g.inspect_get_type(root),
        distro=await g.inspect_get_distro(root),
        product_name=await g.inspect_get_product_name(root),
        major_version=await g.inspect_get_major_version(root),
        minor_version=await g.inspect_get_minor_version(root),
        arch=await g.inspect_get_arch(root),
        hostname=await g.inspect_get_hostname(root),
        package_format=await g.inspect_get_package_format(root),
        package_management=await g.inspect_get_package_management(root),
        mountpoints=mountpoints,
        filesystems=await g.inspect_get_filesystems(root),
        applications=applications,
        applications_error=applications_error,
    )


async def _applications(
    g: AsyncGuestfs, root: str, mountpoints: Mapping[str, str]
) -> tuple[list[Application], str | None]:
    """List the packages and, if that fails, why. An appliance that dies is the whole disk's failure."""
    for mountpoint, device in mountpoints.items():
        try:
            await g.mount_ro(device, mountpoint)
        except ApplianceCrashed:
            raise
        except Error as error:
            log.info("%r is not mounted: %s", mountpoint, _sentence(error.message))
    applications: list[Application] = []
    failure: str | None = None
    try:
        for app in await g.inspect_list_applications2(root):
            applications.append(
                Application(
                    name=app["app2_name"],
                    epoch=app["app2_epoch"],
                    version=app["app2_version"],
                    release=app["app2_release"],
                    arch=app["app2_arch"],
                )
            )
    except ApplianceCrashed:
        raise
    except Error as error:
        failure = _sentence(error.message)
    await g.umount_all()
    return applications, failure


# libguestfs' advice for whoever debugs libguestfs, on lines of its own.
_ADVICE = re.compile(r"\n\s*(This usually means|To see full error messages|Do:|\(in guestfish).*", re.DOTALL)


def _sentence(message: str) -> str:
    """Return libguestfs' message as one line without its advice."""
    return " ".join(_ADVICE.sub("", message).split()).rstrip(".")


def _shown(disk: StrOrBytesPath) -> str:
    """Return the disk's name for a message: an empty one must be seen too."""
    return os.fsdecode(disk) or "''"


def _naming(disk: str, error: Error) -> str:
    """Return the error's reason in one sentence that begins with the disk's name."""
    if error.message.startswith(f"{disk}: "):
        return error.message
    reason = _sentence(error.message)
    if error.op == "add_drive" and "qemu-img" in reason:
        reason = f"damaged, or no disk image that QEMU knows ({reason})"
    if isinstance(error, LaunchError) and error.hint:
        reason = f"{reason}; {' '.join(error.hint.split())}"
    return f"{disk}: {reason}"


_NOT_DISKS: Sequence[tuple[Callable[[int], bool], int, str]] = (
    (stat.S_ISDIR, errno.EISDIR, "is a directory, not a disk image"),
    (stat.S_ISFIFO, errno.EINVAL, "is a FIFO, not a disk image"),
    (stat.S_ISSOCK, errno.EINVAL, "is a socket, not a disk image"),
    (stat.S_ISCHR, errno.EINVAL, "is a character device, not a disk image"),
)


def check_disk(disk: StrOrBytesPath) -> None:
    """Raise Error if the path cannot be a disk image; what it holds is left to QEMU.

    Regular files and block devices pass. libguestfs itself takes empty files, waits for ever on a FIFO, and
    QEMU reads the lost part of a truncated qcow2 as zeros. Blocks: not for the event loop's thread. The
    error's op is "add_drive", its message begins with the disk's name.
    """
    try:
        mode = os.stat(disk).st_mode
        for is_kind, code, reason in _NOT_DISKS:
            if is_kind(mode):
                raise _refused(disk, code, reason)
        with open(disk, "rb", opener=_open_nonblocking) as file:
            size = file.seek(0, os.SEEK_END)
            if size == 0:
                raise _refused(disk, errno.EINVAL, "is empty")
            if _is_truncated_qcow2(file, size):
                raise _refused(disk, errno.EINVAL, "is a truncated qcow2 image: part of the file is missing")
    except OSError as error:
        code = error.errno or 0
        raise _refused(disk, code, "no such file" if code == errno.ENOENT else os.strerror(code)) from None
    except ValueError:
        raise _refused(disk, errno.EINVAL, "no file can have this name: it holds a NUL byte") from None


def _refused(disk: StrOrBytesPath, code: int, reason: str) -> Error:
    return Error("add_drive", f"{_shown(disk)}: {reason}", code)


def _open_nonblocking(path: str, flags: int) -> int:
    """Open what may have become a FIFO since it was looked at."""
    return os.open(path, flags | os.O_NONBLOCK)


_QCOW2_OFFSET = 0x00FF_FFFF_FFFF_FE00  # in an entry of either table
_QCOW2_COMPRESSED = 1 << 62
_QCOW2_READS_ZERO = 1
_QCOW2_EXTERNAL_DATA, _QCOW2_EXTENDED_L2 = 1 << 2, 1 << 4  # incompatible features
_QCOW2_MAX_TABLES = 64 << 20  # bytes of tables to look through: those of a disk of 512 GB


def _is_truncated_qcow2(file: BinaryIO, size: int) -> bool:
    """Tell whether a qcow2 refers to anything behind its end. False for every other format."""

    def table(offset: int, length: int) -> array[int]:
        file.seek(offset)
        entries = array("Q", file.read(length // 8 * 8))
        entries.byteswap()
        return entries

    file.seek(0)
    header = file.read(104)
    if not header.startswith(b"QFI\xfb"):
        return False
    version = int.from_bytes(header[4:8], "big")
    if len(header) < (72 if version == 2 else 104):
        return True
    cluster_bits, l1_entries, l1_offset, features = struct.unpack_from(">20xI12xIQ24xQ", header.ljust(104))
    if version not in (2, 3) or not 9 <= cluster_bits <= 21:
        return False  # QEMU refuses it, and says so
    if version == 2:
        features = 0
    if l1_offset + 8 * l1_entries > size:
        return True
    cluster = 1 << cluster_bits
    l2_offsets = {entry & _QCOW2_OFFSET for entry in table(l1_offset, min(8 * l1_entries, _QCOW2_MAX_TABLES))}
    l2_offsets.discard(0)
    if any(offset + cluster > size for offset in l2_offsets):
        return True
    if features & (_QCOW2_EXTERNAL_DATA | _QCOW2_EXTENDED_L2):
        return False
    compressed_offset = (1 << (62 - (cluster_bits - 8))) - 1
    for l2_offset in sorted(l2_offsets)[: _QCOW2_MAX_TABLES // cluster]:
        for entry in table(l2_offset, cluster):
            mask = compressed_offset if entry & _QCOW2_COMPRESSED else _QCOW2_OFFSET
            if entry & mask >= size and (mask is compressed_offset or not entry & _QCOW2_READS_ZERO):
                return True
    return False
