"""Inspection with real appliances: compared with virt-inspector, of one disk, and of fleets on executors."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import subprocess
import threading
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import aclosing
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import pytest

import guestkit
from guestkit import ApplianceCrashed, CallTimeout, FleetProgress, Guestfs, LaunchError, Report, aio
from guestkit.demo import DEMO_SYSTEM
from guestkit.guest import mount_guest
from guestkit.inspection import ALL_PARTS
from tests.images.corpus import ROOT_UUID, Part, _make
from tests.images.trees import debian

MODES: tuple[Literal["auto", "libguestfs"], ...] = ("auto", "libguestfs")


def shape(element: ElementTree.Element) -> object:
    """Return an element as a value, without the whitespace between its children."""
    return (element.tag, element.attrib, (element.text or "").strip(), [shape(child) for child in element])


def test_the_packages_of_languages_needed_another_launch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = {"srv/flask-3.0.dist-info/METADATA": b"Name: flask\nVersion: 3.0\n"}
    _make([Part(debian(**described), uuid=ROOT_UUID)], tmp_path / "disk.img")
    monkeypatch.setattr(Guestfs, "launch", lambda g: pytest.fail("another launch"))

    async def awaited() -> list[Report]:
        return [one async for one in aio.inspect_many([tmp_path / "disk.img"], languages=True)]

    for (report,) in (
        list(guestkit.inspect_many([tmp_path / "disk.img"], languages=True)),
        asyncio.run(awaited()),
    ):
        (found,) = report.languages
        assert [(one.name, one.version) for one in found.packages] == [("flask", "3.0")]
        assert found.gaps == ()


@pytest.mark.full
def test_the_xml_is_virt_inspectors_for_the_same_guest(demo_guest: Path) -> None:
    steps: list[str] = []
    xml = guestkit.inspect(demo_guest, step=steps.append).to_xml()
    theirs = subprocess.run(
        ["virt-inspector", "--format=raw", "-a", demo_guest],
        env=os.environ | {"LIBGUESTFS_BACKEND_SETTINGS": "force_tcg"},  # it does not detect a broken KVM
        capture_output=True,
        check=True,
        timeout=300,
    )
    assert shape(ElementTree.fromstring(xml)) == shape(ElementTree.fromstring(theirs.stdout))
    assert steps[0] == "starting the appliance"
    assert "looking for operating systems" in steps


@pytest.mark.parametrize("mode", ["auto", pytest.param("libguestfs", marks=pytest.mark.full)])
def test_a_part_that_hangs_costs_itself_and_what_follows_but_not_the_report(
    demo_guest: Path, tmp_path: Path, mode: Literal["auto", "libguestfs"]
) -> None:
    disk = tmp_path / "hangs.img"
    os.link(demo_guest, disk)

    def step(text: str) -> None:
        if text == "reading the guest's files":
            (hypervisor,) = hypervisors_of(disk)
            os.kill(hypervisor, signal.SIGSTOP)

    found = guestkit.inspect(
        disk,
        parts=("users", "applications", "filesystems"),
        mode=mode,
        step=step,
        timeout=36 if mode == "auto" else 150,
    )
    (system,) = found.operating_systems
    assert (system.distro, system.hostname) == (DEMO_SYSTEM.distro, DEMO_SYSTEM.hostname)
    assert [one.device for one in found.filesystems] == ["/dev/sda1", "/dev/sda2"]
    first, *later = system.failures
    assert first.message.startswith("took longer than ")
    assert first.message.endswith(" s, its share of the time")
    assert {one.part for one in later} <= {"users", "applications", "os_release"}
    assert {one.message for one in (*later, *found.failures)} == {
        "not looked at: the appliance had ended before"
    }
    assert [one.part for one in found.failures] == ["filesystems"]
    assert not hypervisors_of(disk)


async def test_a_disk_has_its_time_and_no_more(demo_guest: Path) -> None:
    with pytest.raises(CallTimeout):
        await aio.inspect(demo_guest, timeout=0.2)


async def first_report(disks: list[Path], executor: Executor) -> Report:
    async with aclosing(aio.inspect_many(disks, jobs_executor=executor)) as reports:
        return await anext(reports)


def test_a_fleet_on_processes_with_a_bad_disk(demo_guest: Path) -> None:
    with ProcessPoolExecutor(2) as processes:
        disks = [demo_guest, Path("/nonexistent"), demo_guest]
        reports = list(guestkit.inspect_many(disks, jobs_executor=processes))
        again = asyncio.run(first_report([demo_guest], processes))
    assert again.inspection is not None
    assert again.inspection.operating_systems == (DEMO_SYSTEM,)
    assert sorted(report.disk for report in reports) == sorted(map(str, disks))
    for report in reports:
        if report.disk == "/nonexistent":
            assert report.error is not None
            assert report.error.message == "/nonexistent: no such file"
        else:
            assert report.inspection is not None
            assert report.inspection.operating_systems == (DEMO_SYSTEM,)


def test_a_launch_waits_for_the_place_of_another_and_says_so(demo_guest: Path) -> None:
    def make(**options: Any) -> Guestfs:
        g = Guestfs(**options)
        g.add_drive(demo_guest, readonly=True, format="raw")
        return g

    guestkit.set_appliance_limit(1)
    try:
        with make() as first, make(admission_timeout=0.05) as second:
            first.launch()
            with pytest.raises(CallTimeout, match="runs 1 appliances") as caught:
                second.launch()
            assert caught.value.clock == "admission_timeout"
            guestkit.set_appliance_limit(None)
            with make(admission_timeout=0.05) as large, pytest.raises(CallTimeout, match="for memory"):
                large.set_memsize(64_000_000)  # more than there is: it was not counted
                large.launch()
            guestkit.set_appliance_limit(1)
            first.close()
            second.launch()
            # The place of a dead hypervisor is free once its death is noticed.
            os.kill(second.get_pid(), signal.SIGKILL)
            with pytest.raises(ApplianceCrashed):
                second.list_devices()
            with make(admission_timeout=0.05) as third:
                third.launch()
    finally:
        guestkit.set_appliance_limit(None)


def test_a_second_launch_gave_the_place_of_the_running_appliance_away(demo_guest: Path) -> None:
    guestkit.set_appliance_limit(1)
    try:
        with Guestfs() as first, Guestfs(admission_timeout=0.05) as second:
            for g in (first, second):
                g.add_drive(demo_guest, readonly=True, format="raw")
            first.launch()
            with pytest.raises(LaunchError):
                first.launch()
            assert first.list_devices() == ["/dev/sda"]
            with pytest.raises(CallTimeout, match="runs 1 appliances"):
                second.launch()
    finally:
        guestkit.set_appliance_limit(None)


@pytest.mark.full
def test_the_last_package_was_lost_and_the_list_called_complete(demo_guest: Path, tmp_path: Path) -> None:
    """dpkg needs no empty line behind it, libguestfs does."""
    disk = tmp_path / "disk.qcow2"
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(demo_guest), "-F", "raw", str(disk)]
    subprocess.run(command, check=True)
    one = "Package: a\nStatus: install ok installed\nVersion: 1\n\n"
    two = "Package: b\nStatus: install ok installed\nVersion: 2\n"
    with Guestfs() as g:
        g.open_disk(disk, readonly=False, format="qcow2", backing="allow")
        g.launch()
        for text, names, complete in ((one + two, ["a", "b"], True), (one + two[:-1], ["a"], False)):
            mount_guest(g, readonly=False)
            g.write("/var/lib/dpkg/status", text.encode())
            g.umount_all()
            for mode in MODES:
                found = g.inspect(mode=mode)
                (system,) = found.operating_systems
                assert found.provenance.way == ("fast" if mode == "auto" else mode)
                assert [app.name for app in system.applications] == names
                assert system.applications_complete == complete
                assert [one.part for one in system.failures] == ["applications"] * (not complete)
                corrected = any("applications" in one for one in found.provenance.corrections)
                assert corrected == (complete and mode == "libguestfs")


def test_a_handle_that_runs_tells_everything(demo_guest: Path, tmp_path: Path) -> None:
    with Guestfs() as g:
        g.open_disk(demo_guest)
        g.disk_create(tmp_path / "blank.img", "raw", 1 << 20)
        g.open_disk(tmp_path / "blank.img", format="raw")
        g.launch()
        g.mount_ro("/dev/sda1", "/")
        found = g.inspect(parts=ALL_PARTS, mode="libguestfs")
        assert g.mounts() == []
    assert found.provenance.way == "libguestfs"
    assert [disk.device for disk in found.disks] == ["/dev/sda", "/dev/sdb"]
    (system,) = found.operating_systems
    assert [user.name for user in system.users] == ["root", "demo"]


def hypervisors_of(disk: Path) -> list[int]:
    """Return the ids of the QEMU processes that have this disk open."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "comm").read_text().startswith("qemu-system") and disk in [
                file.readlink() for file in (process / "fd").iterdir()
            ]:
                found.append(int(process.name))
        except OSError:  # it has ended, or is another user's
            continue
    return found


@pytest.mark.parametrize("kind", ["sync", pytest.param("async", marks=pytest.mark.full)])
def test_a_hang_a_dead_qemu_and_a_bad_disk_cost_no_other(demo_guest: Path, tmp_path: Path, kind: str) -> None:
    disks = {name: tmp_path / f"{name}.img" for name in ("hangs", "dies", "good", "bad", "after")}
    for name, disk in disks.items():
        if name != "bad":
            os.link(demo_guest, disk)
    signals = {str(disks["hangs"]): signal.SIGSTOP, str(disks["dies"]): signal.SIGKILL}
    lock = threading.Lock()

    def progress(now: FleetProgress) -> None:
        """Send the signal once the appliance is up, and so during the inspection."""
        for disk, step in now.steps.items():
            with lock:
                what = signals.pop(disk, None) if step == "looking for operating systems" else None
            if what is not None:
                (hypervisor,) = hypervisors_of(Path(disk))
                os.kill(hypervisor, what)

    async def gather() -> list[Report]:
        return [report async for report in aio.inspect_many(disks.values(), **options)]

    options: Any = {"concurrency": 3, "timeout": 25, "progress": progress}
    made = list(guestkit.inspect_many(disks.values(), **options)) if kind == "sync" else asyncio.run(gather())
    reports = {Path(report.disk).stem: report for report in made}
    assert {name: report.error and report.error.kind for name, report in reports.items()} == {
        "hangs": "CallTimeout",
        "dies": "ApplianceCrashed",
        "bad": "Error",
        "good": None,
        "after": None,
    }
    for name in ("good", "after"):
        inspection = reports[name].inspection
        assert inspection is not None
        assert inspection.operating_systems == (DEMO_SYSTEM,)
    assert not [process for disk in disks.values() for process in hypervisors_of(disk)]


@pytest.mark.full
def test_a_fleet_on_two_workers_of_dask(demo_guest: Path) -> None:
    dask: Any = importlib.import_module("distributed")
    with (
        dask.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        dask.Client(cluster) as client,
    ):
        disks = [demo_guest, Path("/nonexistent"), demo_guest]
        reports = list(guestkit.inspect_many(disks, jobs_executor=client.get_executor()))
    assert sorted(report.error is None for report in reports) == [False, True, True]
    assert [report.inspection.operating_systems for report in reports if report.inspection] == [
        (DEMO_SYSTEM,)
    ] * 2
