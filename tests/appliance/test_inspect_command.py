"""`guestkit inspect` with real appliances: every test examines one run on good and bad disks at once."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from guestkit import Guestfs
from guestkit.demo import DEMO_FILESYSTEMS, DEMO_SYSTEM

MARK = "GUESTKIT_TEST_RUN"


@dataclass
class Run:
    """What the command did. `disks` are by their role; `reports` are what it printed."""

    disks: dict[str, Path]
    reports: dict[str, dict[str, Any]]
    status: int
    stderr: str
    hypervisors_seen: set[str]
    left_behind: set[str]


def processes_of(mark: str) -> set[str]:
    """Return the names of the running processes with the mark: the command and its children."""
    names = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (process / "environ").read_bytes().split(b"\0"):
                names.add((process / "comm").read_text().strip())
        except OSError:  # it has ended, or is another user's
            pass
    return names


def make_disks(directory: Path, demo_guest: Path) -> dict[str, Path]:
    disks = {"demo": demo_guest}
    for name in ("missing", "directory", "empty", "truncated", "header", "random"):
        disks[name] = directory / f"{name}.img"
    disks["directory"].mkdir()
    disks["empty"].touch()
    whole = directory / "whole.qcow2"
    with Guestfs() as g:
        g.disk_create(whole, "qcow2", 64 << 20, preallocation="metadata")
    image = whole.read_bytes()
    disks["truncated"].write_bytes(image[: len(image) // 2])
    disks["header"].write_bytes(image[:20])
    disks["random"].write_bytes(random.Random(2).randbytes(4 << 20))
    return disks


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, demo_guest: Path) -> Run:
    directory = tmp_path_factory.mktemp("inspect")
    disks = make_disks(directory, demo_guest)
    mark = uuid.uuid4().hex
    seen: set[str] = set()
    with (
        open(directory / "stdout", "w+b") as stdout,
        open(directory / "stderr", "w+b") as stderr,
        subprocess.Popen(
            [sys.executable, "-m", "guestkit", "inspect", "--json", *disks.values()],
            stdout=stdout,
            stderr=stderr,
            env=os.environ | {MARK: mark},
        ) as process,
    ):
        deadline = time.monotonic() + 300
        while process.poll() is None:
            seen |= processes_of(mark)
            if time.monotonic() > deadline:
                process.kill()
                pytest.fail("guestkit inspect did not end within 300 s")
            time.sleep(0.1)
        stdout.seek(0)
        stderr.seek(0)
        out, err = stdout.read().decode(), stderr.read().decode()
    grace = time.monotonic() + 3
    while (left := processes_of(mark)) and time.monotonic() < grace:
        time.sleep(0.1)
    reports = json.loads(out)  # stdout holds nothing but the report
    assert [report["disk"] for report in reports] == [str(disk) for disk in disks.values()]
    return Run(
        disks=disks,
        reports=dict(zip(disks, reports, strict=True)),
        status=process.returncode,
        stderr=err,
        hypervisors_seen={name for name in seen if name.startswith("qemu-system")},
        left_behind=left,
    )


def test_the_demo_guest_field_by_field(run: Run, demo_guest: Path) -> None:
    report = run.reports["demo"]
    assert (report["disk"], report["disks"], report["error"]) == (str(demo_guest), [str(demo_guest)], None)
    found = report["inspection"]
    assert found["schema"] == "guestkit.inspection/2"
    assert {entry["device"]: entry["type"] for entry in found["filesystems"]} == DEMO_FILESYSTEMS
    assert found["operating_systems"] == json.loads(json.dumps([asdict(DEMO_SYSTEM)]))


def test_random_bytes_are_no_operating_system_and_no_error(run: Run) -> None:
    report = run.reports["random"]
    assert report["error"] is None
    found = report["inspection"]
    assert found["operating_systems"] == []
    assert [(entry["device"], entry["reason"]) for entry in found["unopened"]] == [("/dev/sda", "unknown")]


@pytest.mark.parametrize(
    ("disk", "reason"),
    [
        ("missing", "no such file"),
        ("directory", "is a directory"),
        ("empty", "is empty"),
        ("truncated", "is a truncated qcow2 image"),
        ("header", "is a truncated qcow2 image"),
    ],
)
def test_a_bad_disk_has_its_own_message_that_names_it(run: Run, disk: str, reason: str) -> None:
    report = run.reports[disk]
    message = report["error"]["message"]
    assert message.startswith(f"{run.disks[disk]}: {reason}")
    assert "\n" not in message
    assert report["error"]["errno"] > 0
    assert report["inspection"] is None


def test_the_status_tells_that_a_disk_failed_and_nothing_looks_like_a_crash(run: Run) -> None:
    assert run.status == 1
    assert "Traceback" not in run.stderr
    assert "libguestfs: error" not in run.stderr


def test_no_process_is_left_behind(run: Run) -> None:
    assert run.hypervisors_seen, "the search found none even while the command ran"
    assert run.left_behind == set()


def test_the_text_of_bad_disks(run: Run) -> None:
    bad = [run.disks[name] for name in ("missing", "directory", "empty", "truncated")]
    done = subprocess.run(
        [sys.executable, "-m", "guestkit", "inspect", *bad],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    blocks = done.stdout.split("\n\n")
    assert len(set(blocks)) == len(bad)
    for disk, block in zip(bad, blocks, strict=True):
        assert block.startswith(f"{disk}\n  error           ")
        reason = block.partition("error")[2].strip()
        assert f"guestkit: error: {disk}: {reason}\n" in done.stderr
