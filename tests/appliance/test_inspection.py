"""Inspection with real appliances: against virt-inspector, one disk at a time, and fleets elsewhere."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import guestkit
from guestkit import ApplianceCrashed, CallTimeout, Guestfs, Key, aio
from guestkit.demo import DEMO_SYSTEM
from guestkit.inspection import ALL_PARTS


def shape(element: ElementTree.Element) -> object:
    """An element without the spaces between its children."""
    return (element.tag, element.attrib, (element.text or "").strip(), [shape(child) for child in element])


def test_the_xml_is_virt_inspectors_for_the_same_guest(demo_guest: Path) -> None:
    steps: list[str] = []
    xml = guestkit.inspect(demo_guest, step=steps.append).to_xml()
    theirs = subprocess.run(
        ["virt-inspector", "--format=raw", "-a", demo_guest],
        env=os.environ | {"LIBGUESTFS_BACKEND_SETTINGS": "force_tcg"},  # it does not notice a broken KVM
        capture_output=True,
        check=True,
        timeout=300,
    )
    assert shape(ElementTree.fromstring(xml)) == shape(ElementTree.fromstring(theirs.stdout))
    assert steps[0] == "starting the appliance"
    assert "looking for operating systems" in steps


async def test_a_disk_has_its_time_and_no_more(demo_guest: Path) -> None:
    with pytest.raises(CallTimeout):
        await aio.inspect(demo_guest, timeout=0.2)


def test_a_fleet_on_processes_with_a_bad_disk(demo_guest: Path) -> None:
    with ProcessPoolExecutor(2) as processes:
        disks = [demo_guest, Path("/nonexistent"), demo_guest]
        reports = list(guestkit.inspect_many(disks, jobs_executor=processes))
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
            first.close()
            second.launch()
            # A hypervisor that dies gives its place back when that is seen.
            os.kill(second.get_pid(), signal.SIGKILL)
            with pytest.raises(ApplianceCrashed):
                second.list_devices()
            with make(admission_timeout=0.05) as third:
                third.launch()
    finally:
        guestkit.set_appliance_limit(None)


@pytest.fixture(scope="module")
def handle(demo_guest: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guestfs]:
    """An appliance with the demo guest, mounted, and a blank disk that can be written, /dev/sdb."""
    with Guestfs() as g:
        g.add_drive(demo_guest, readonly=True, format="raw")
        g.disk_create(blank := tmp_path_factory.mktemp("blank") / "blank.img", "raw", 64 << 20)
        g.add_drive(blank, format="raw")
        g.launch()
        yield g


def test_a_handle_that_runs_tells_everything(handle: Guestfs) -> None:
    found = handle.inspect(parts=ALL_PARTS, mode="libguestfs")
    assert found.provenance.way == "libguestfs"
    assert [disk.device for disk in found.disks] == ["/dev/sda", "/dev/sdb"]
    (system,) = found.operating_systems
    assert [user.name for user in system.users] == ["root", "demo"]
    assert handle.mounts() == []


def test_an_encrypted_filesystem_says_which_key_it_wants_and_opens_with_it(
    handle: Guestfs, tmp_path: Path
) -> None:
    handle.luks_format("/dev/sdb", "open sesame", 0)
    uuid = handle.luks_uuid("/dev/sdb")
    (shut,) = handle.inspect().unopened
    assert (shut.device, shut.type, shut.reason, shut.uuid) == ("/dev/sdb", "crypto_LUKS", "encrypted", uuid)
    assert uuid in shut.message
    (shut,) = handle.inspect(keys=[Key("wrong"), Key("open sesame", device="/dev/sdz")]).unopened
    assert "none of the keys that were tried opens it (1)" in shut.message
    file = tmp_path / "key"
    file.write_text("open sesame\nmore")
    found = handle.inspect(keys=[Key(file=file, device=uuid.upper())])
    (layer,) = found.layers
    assert (layer.kind, layer.members, layer.devices) == (
        "luks",
        ("/dev/sdb",),
        (f"/dev/mapper/luks-{uuid}",),
    )
    assert "open sesame" not in repr(found)


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
