"""Inspection without an appliance: which paths are refused and how, what becomes of answers and errors."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self, cast

import pytest

from guestkit import ApplianceCrashed, AsyncGuestfs, Error, LaunchError
from guestkit.inspection import Report, check_disk, inspect_disk, inspect_disks

ANSWERS: dict[str, Any] = {
    "list_filesystems": {"/dev/sda1": "ext4", "/dev/sda2": "swap"},
    "inspect_os": ["/dev/sda1"],
    "inspect_get_type": "linux",
    "inspect_get_distro": "debian",
    "inspect_get_product_name": "Debian 12",
    "inspect_get_major_version": 12,
    "inspect_get_minor_version": 5,
    "inspect_get_arch": "x86_64",
    "inspect_get_hostname": "web",
    "inspect_get_package_format": "deb",
    "inspect_get_package_management": "apt",
    "inspect_get_mountpoints": {"/var/log": "/dev/sdc", "/": "/dev/sda1", "/var": "/dev/sdb"},
    "inspect_get_filesystems": ["/dev/sda1", "/dev/sda2"],
    "inspect_list_applications2": [
        {
            "app2_name": "vim",
            "app2_epoch": 2,
            "app2_version": "9.0",
            "app2_release": "4",
            "app2_arch": "amd64",
            "app2_summary": "not reported",
        }
    ],
}


class FakeGuestfs:
    """Stands in for AsyncGuestfs: answers with ANSWERS and its own, raises those that are exceptions."""

    def __init__(self, **answers: Any) -> None:
        self.answers = ANSWERS | answers
        self.calls: list[tuple[Any, ...]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.calls.append(("close",))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def action(*arguments: Any, **options: Any) -> Any:
            self.calls.append((name, *arguments, *options.items()))
            answer = self.answers.get(name)
            if callable(answer):
                answer = answer(*arguments)
            if asyncio.iscoroutine(answer):
                answer = await answer
            if isinstance(answer, BaseException):
                raise answer
            return answer

        return action


async def inspect(disk: Path, fake: FakeGuestfs) -> Report:
    return await inspect_disk(disk, open_handle=lambda: cast(AsyncGuestfs, fake))


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(b"\0" * 4096)
    return path


# Paths.


def refusal(path: str | bytes | os.PathLike[str]) -> Error:
    with pytest.raises(Error) as caught:
        check_disk(path)
    assert caught.value.op == "add_drive"
    return caught.value


@pytest.fixture
def bad_paths(tmp_path: Path) -> Iterator[dict[str, Path]]:
    paths = {name: tmp_path / name for name in ("missing", "directory", "empty", "fifo", "socket")}
    paths["directory"].mkdir()
    paths["empty"].touch()
    os.mkfifo(paths["fifo"])
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(paths["socket"]))
        yield paths | {"character device": Path("/dev/null"), "below a file": paths["empty"] / "disk"}


def test_each_bad_path_has_its_own_message_that_names_the_disk(bad_paths: dict[str, Path]) -> None:
    reasons = {
        "missing": (errno.ENOENT, "no such file"),
        "directory": (errno.EISDIR, "is a directory, not a disk image"),
        "empty": (errno.EINVAL, "is empty"),
        "fifo": (errno.EINVAL, "is a FIFO, not a disk image"),
        "socket": (errno.EINVAL, "is a socket, not a disk image"),
        "character device": (errno.EINVAL, "is a character device, not a disk image"),
        "below a file": (errno.ENOTDIR, "Not a directory"),
    }
    assert bad_paths.keys() == reasons.keys()
    for name, (code, reason) in reasons.items():
        error = refusal(bad_paths[name])
        assert (error.message, error.errno) == (f"{bad_paths[name]}: {reason}", code)


def test_an_unreadable_disk(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)  # the tests may run as root
    error = refusal(disk)
    assert (error.message, error.errno) == (f"{disk}: Permission denied", errno.EACCES)


def test_a_fifo_that_took_the_place_of_a_disk_does_not_hang(
    bad_paths: dict[str, Path], disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at = os.stat(disk)
    monkeypatch.setattr(os, "stat", lambda _: looked_at)
    refusal(bad_paths["fifo"])


def test_names_that_hold_a_nul_or_nothing_or_no_utf8(tmp_path: Path) -> None:
    assert "NUL byte" in refusal("a\0b").message
    assert refusal("").message == "'': no such file"
    path = os.fsencode(tmp_path) + b"/\xff.img"
    assert refusal(path).message == f"{tmp_path}/\udcff.img: no such file"
    Path(os.fsdecode(path)).write_bytes(b"x")
    check_disk(path)
    check_disk(os.fsdecode(path))


# Truncated qcow2 images: QEMU opens most of them and reads zeros.

CLUSTER = 512


def qcow2(entry: int, *, version: int = 3, features: int = 0, l1_offset: int = CLUSTER) -> bytes:
    """A qcow2 of clusters of 512 bytes: header, L1 table, an L2 table with this one entry, a data cluster."""
    fields = (b"QFI\xfb", version, 0, 0, 9, 32768, 0, 1, l1_offset, 0, 0, 0, 0, features, 0, 0, 4, 104)
    header = struct.pack(">4sIQIIQIIQQIIQQQQII", *fields)
    tables = [struct.pack(">Q", 1 << 63 | 2 * CLUSTER), struct.pack(">Q", entry)]
    return b"".join(part.ljust(CLUSTER, b"\0") for part in (header, *tables)) + b"d" * CLUSTER


DATA = 1 << 63 | 3 * CLUSTER
COMPRESSED = 1 << 62 | (3 * CLUSTER + 100)
ZERO_FLAG = 1
EXTERNAL_DATA = 4


@pytest.mark.parametrize("entry", [0, DATA, COMPRESSED])
@pytest.mark.parametrize("version", [2, 3])
def test_a_whole_qcow2_passes(disk: Path, entry: int, version: int) -> None:
    disk.write_bytes(qcow2(entry, version=version))
    check_disk(disk)


@pytest.mark.parametrize("entry", [DATA, COMPRESSED])
@pytest.mark.parametrize("length", [4, 71, 103, 200, CLUSTER + 4, 2 * CLUSTER, 3 * CLUSTER - 8, 3 * CLUSTER])
def test_a_truncated_qcow2_is_refused_wherever_it_was_cut(disk: Path, entry: int, length: int) -> None:
    disk.write_bytes(qcow2(entry)[:length])
    error = refusal(disk)
    assert error.errno == errno.EINVAL
    assert error.message == f"{disk}: is a truncated qcow2 image: part of the file is missing"


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(qcow2(0)[: 3 * CLUSTER], id="no data yet"),
        pytest.param(qcow2(DATA | ZERO_FLAG)[: 3 * CLUSTER], id="reads as zeros whatever the data"),
        pytest.param(qcow2(DATA, features=EXTERNAL_DATA)[: 3 * CLUSTER], id="the data is in another file"),
        pytest.param(qcow2(DATA)[: 3 * CLUSTER + 1], id="the last cluster written in part"),
        pytest.param(qcow2(DATA, version=9)[: 3 * CLUSTER], id="a version that QEMU refuses"),
        pytest.param(b"QFI", id="not a qcow2"),
    ],
)
def test_what_is_not_a_truncated_qcow2_passes(disk: Path, image: bytes) -> None:
    disk.write_bytes(image)
    check_disk(disk)


def test_a_hostile_header_asks_for_no_memory(disk: Path) -> None:
    disk.write_bytes(qcow2(DATA, l1_offset=(1 << 64) - 8))
    assert "truncated" in refusal(disk).message


# Reports.


async def test_a_report_has_every_field_under_its_name(disk: Path) -> None:
    report = (await inspect(disk, FakeGuestfs())).to_json()
    assert report == {
        "schema": "guestkit.inspection/1",
        "disk": str(disk),
        "error": None,
        "filesystems": {"/dev/sda1": "ext4", "/dev/sda2": "swap"},
        "operating_systems": [
            {
                "root": "/dev/sda1",
                "type": "linux",
                "distro": "debian",
                "product_name": "Debian 12",
                "major_version": 12,
                "minor_version": 5,
                "arch": "x86_64",
                "hostname": "web",
                "package_format": "deb",
                "package_management": "apt",
                "mountpoints": {"/": "/dev/sda1", "/var": "/dev/sdb", "/var/log": "/dev/sdc"},
                "filesystems": ["/dev/sda1", "/dev/sda2"],
                "applications": [
                    {"name": "vim", "epoch": 2, "version": "9.0", "release": "4", "arch": "amd64"}
                ],
                "applications_error": None,
            }
        ],
    }
    assert json.loads(json.dumps(report)) == report


async def test_a_disk_is_opened_read_only_and_mounted_shortest_first(disk: Path) -> None:
    fake = FakeGuestfs()
    await inspect(disk, fake)
    assert fake.calls[:2] == [("add_drive", os.fsencode(disk), ("readonly", True)), ("launch",)]
    mounts = [call for call in fake.calls if "mount" in call[0] and call[0] != "inspect_get_mountpoints"]
    assert mounts == [
        ("mount_ro", "/dev/sda1", "/"),
        ("mount_ro", "/dev/sdb", "/var"),
        ("mount_ro", "/dev/sdc", "/var/log"),
        ("umount_all",),
    ]
    assert fake.calls[-1] == ("close",)


async def test_no_operating_system_is_no_error(disk: Path) -> None:
    report = await inspect(disk, FakeGuestfs(inspect_os=[], list_filesystems={}))
    assert report.error is None
    assert report.to_json()["operating_systems"] == []


async def test_a_filesystem_that_cannot_be_mounted_is_skipped(disk: Path) -> None:
    def mount_ro(device: str, _: str) -> Error | None:
        return Error("mount_ro", "wrong fs type", errno.EINVAL) if device == "/dev/sdb" else None

    report = await inspect(disk, FakeGuestfs(mount_ro=mount_ro))
    assert report.error is None
    assert [app.name for app in report.operating_systems[0].applications] == ["vim"]


async def test_packages_that_cannot_be_listed_leave_the_rest_of_the_report(disk: Path) -> None:
    fake = FakeGuestfs(inspect_list_applications2=Error("inspect_list_applications2", "broken\ndatabase.", 0))
    system = (await inspect(disk, fake)).operating_systems[0]
    assert (system.hostname, system.applications) == ("web", [])
    assert system.applications_error == "broken database"
    assert ("umount_all",) in fake.calls


@pytest.mark.parametrize("failing", ["mount_ro", "inspect_list_applications2", "inspect_os"])
async def test_an_appliance_that_dies_is_the_failure_of_the_disk(disk: Path, failing: str) -> None:
    crash = ApplianceCrashed(
        failing, "appliance closed the connection unexpectedly.\nThis usually means …", 32
    )
    report = await inspect(disk, FakeGuestfs(**{failing: crash}))
    assert report.to_json()["error"] == {
        "message": f"{disk}: appliance closed the connection unexpectedly",
        "errno": 32,
        "op": failing,
    }
    assert report.operating_systems == []


# What libguestfs 1.48.6 says.
ADVICE = (
    "\nTo see full error messages you may need to enable debugging.\nDo:\n  export LIBGUESTFS_DEBUG=1 "
    "LIBGUESTFS_TRACE=1\nand run the command again.  For further information, read:\n  http://libguestfs.org"
)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            Error("add_drive", f"qemu-img info: /d: qemu-img info exited with error status 1.{ADVICE}"),
            "damaged, or no disk image that QEMU knows "
            "(qemu-img info: /d: qemu-img info exited with error status 1)",
        ),
        (
            LaunchError(
                "launch",
                "guestfs_launch failed.\nThis usually means the libguestfs appliance failed to start"
                " or crashed.\nDo:\n  export LIBGUESTFS_DEBUG=1",
                hint="Install a\nkernel.",
            ),
            "guestfs_launch failed; Install a kernel.",
        ),
        (
            Error(
                "mount", "call launch before using this function\n(in guestfish, don't forget to use …)", 22
            ),
            "call launch before using this function",
        ),
    ],
)
async def test_a_failure_is_one_sentence_without_advice(disk: Path, error: Error, sentence: str) -> None:
    report = await inspect(disk, FakeGuestfs(launch=error))
    assert report.to_json()["error"] == {
        "message": f"{disk}: {sentence}",
        "errno": error.errno,
        "op": error.op,
    }


async def test_an_error_of_another_kind_is_a_report_too(disk: Path) -> None:
    report = await inspect(disk, FakeGuestfs(launch=OSError(errno.ENOSPC, "No space\nleft")))
    assert report.to_json()["error"] == {
        "message": f"{disk}: OSError: [Errno 28] No space left",
        "errno": errno.ENOSPC,
        "op": "inspect",
    }


# Several disks.


async def test_reports_come_in_the_order_of_the_disks_and_a_bad_disk_spoils_none(tmp_path: Path) -> None:
    disks = [tmp_path / name for name in ("c", "a", "missing", "b")]
    for number, disk in enumerate(disks):
        if disk.name != "missing":
            disk.write_bytes(b"x" * (number + 1))
    delays = iter((0.03, 0.0, 0.01))
    reports = await inspect_disks(
        disks, open_handle=lambda: cast(AsyncGuestfs, FakeGuestfs(launch=lambda: asyncio.sleep(next(delays))))
    )
    assert [report.disk for report in reports] == [str(disk) for disk in disks]
    assert [bool(report.error) for report in reports] == [False, False, True, False]
    assert await inspect_disks([]) == []


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_no_more_appliances_at_once_than_asked_for(disk: Path, concurrency: int) -> None:
    running = most = 0

    async def launch() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1

    await inspect_disks(
        [disk] * 7,
        concurrency=concurrency,
        open_handle=lambda: cast(AsyncGuestfs, FakeGuestfs(launch=launch)),
    )
    assert most == concurrency


async def test_concurrency_below_one_is_refused(disk: Path) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        await inspect_disks([disk], concurrency=0)


async def test_a_cancellation_is_no_report(disk: Path) -> None:
    launching = asyncio.Event()

    async def launch() -> None:
        launching.set()
        await asyncio.sleep(60)

    fake = FakeGuestfs(launch=launch)
    task = asyncio.create_task(
        inspect_disks([disk, disk], concurrency=1, open_handle=lambda: cast(AsyncGuestfs, fake))
    )
    await asyncio.wait_for(launching.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert fake.calls[-1] == ("close",)
