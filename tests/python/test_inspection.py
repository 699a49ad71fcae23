"""Inspection without an appliance: values and their JSON, XML, keys, and fleets with bad disks."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import dataclasses
import errno
import json
import logging
import os
import pickle
import queue
import socket
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

import guestkit
from guestkit import (
    ApplianceCrashed,
    AsyncGuestfs,
    Error,
    Guestfs,
    Inspection,
    Key,
    LaunchError,
    Report,
    _native,
    aio,
    languages,
)
from guestkit import inspection as values
from guestkit._inspect_arguments import many
from guestkit.cli import main
from guestkit.demo import DEMO_SYSTEM
from guestkit.disks import names_of
from guestkit.fleet import FleetProgress, Tally
from guestkit.fs import GuestFileSystem
from guestkit.guest import GuestArguments, mount_guest
from guestkit.inspection import (
    ALL_PARTS,
    Disk,
    Filesystem,
    InspectOptions,
    Kernel,
    Layer,
    NetworkInterface,
    PartFailure,
    Partition,
    Provenance,
    UnopenedFilesystem,
    User,
    WindowsFacts,
    json_schema,
)
from guestkit.languages import LanguagePackages
from tests import schemas
from tests.inspections import NOTHING_FOUND

EVIL = "\x1b[31m<&\x00\udcff"

FULL = Inspection(
    provenance=Provenance(
        way="libguestfs",
        reason="asked for",
        guestkit="0.4.0",
        libguestfs="1.48.6",
        verified=True,
        differences=("arch",),
        corrections=("mountpoints: / /dev/sda1 instead of nothing",),
    ),
    disks=(Disk(device="/dev/sda", format="qcow2", virtual_size=1 << 40),),
    partitions=(
        Partition(
            device="/dev/sda1",
            disk="/dev/sda",
            number=1,
            start=1 << 20,
            size=1 << 30,
            scheme="gpt",
            type="0fc63daf-8483-4772-8e79-3d69d8477de4",
            uuid="u",
            name="root",
        ),
    ),
    layers=(
        Layer(kind="lvm", name="vg", uuid="u", level="", members=("/dev/sda2",), devices=("/dev/vg/lv",)),
    ),
    filesystems=(
        Filesystem(device="/dev/sda1", type="ext4", label="root", uuid="r", size=1 << 30, used=5),
        Filesystem(device="/dev/sda2", type="swap", label="", uuid="s", size=None, used=None),
    ),
    unopened=(
        UnopenedFilesystem(
            device="/dev/sda3", type="crypto_LUKS", uuid="u", reason="encrypted", message="needs a key"
        ),
    ),
    operating_systems=(
        replace(
            DEMO_SYSTEM,
            windows=WindowsFacts(systemroot="/W", software_hive="", system_hive="", current_control_set="C"),
            drive_mappings={"C": "/dev/sda1"},
            icon=b"\x89PNG",
            users=(User(name="root", uid=0, gid=0, full_name="", home="/root", shell="/bin/sh"),),
            kernels=(Kernel(version="6.1", image="/boot/vmlinuz-6.1", initrd="", modules=True),),
            services=("ssh.service",),
            network=(
                NetworkInterface(
                    name="eth0", method="dhcp", addresses=(), gateway="", dns=("::1",), mac="", source="/f"
                ),
            ),
            failures=(PartFailure(part="users", message="no", op="pread", errno=5),),
            hostname=EVIL,
        ),
    ),
    failures=(PartFailure(part="operating_systems", message=EVIL, op="inspect_os", errno=0),),
)


# JSON and XML.


def test_every_value_is_in_the_json_and_the_schema_allows_no_other_form() -> None:
    found = json.loads(json.dumps(FULL.to_dict()))
    assert schemas.faults(found, json_schema()) == []
    assert found["schema"] == "guestkit.inspection/2"
    assert found["operating_systems"][0]["icon"] == "iVBORw=="
    assert found["operating_systems"][0]["hostname"] == EVIL
    assert found["operating_systems"][0]["mountpoints"] == {"/": "/dev/sda1", "/var": "/dev/sda2"}
    wrong: dict[str, Any]
    for wrong in ({"disks": None}, {"schema": "guestkit.inspection/1"}, {"filesystems": [{}]}):
        assert schemas.faults(found | wrong, json_schema()) != []


#: The dataclasses of guestkit.inspection that are never part of a report.
WHAT_IS_ASKED = {"InspectOptions", "Key", "OpenDiskOptions"}


def test_the_schema_describes_each_field_of_each_value() -> None:
    described = {**json_schema()["$defs"], "Inspection": json_schema()}
    kinds = {
        name: kind
        for name, kind in vars(values).items()
        if dataclasses.is_dataclass(kind) and isinstance(kind, type) and name not in WHAT_IS_ASKED
    }
    assert described.keys() == kinds.keys()
    for name, kind in kinds.items():
        fields = [field.name for field in dataclasses.fields(kind)]
        assert list(described[name]["properties"]) == described[name]["required"] == fields


def test_an_inspection_pickles() -> None:
    assert pickle.loads(pickle.dumps(FULL)) == FULL


def test_an_inspection_did_not_say_what_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    found = NOTHING_FOUND.to_dict()
    del found["schema"], found["provenance"]["cached"], found["provenance"]["parts"]
    monkeypatch.setattr(_native.Handle, "_inspect", lambda *_: copy.deepcopy(found))
    with Guestfs() as g:
        assert g.inspect().provenance.parts == ("filesystems", "applications")
        assert g.inspect(parts={"users", "network", "filesystems"}).provenance.parts == (
            "filesystems",
            "users",
            "network",
        )
        assert g.inspect(parts=()).provenance.parts == ()


def test_the_xml_is_well_formed_whatever_the_guest_says() -> None:
    top = ElementTree.fromstring(FULL.to_xml())
    (system,) = top
    assert system.findtext("hostname") == "\ufffd[31m<&\ufffd\ufffd"
    assert system.findtext("windows_systemroot") == "/W"
    assert system.findtext("drive_mappings/drive_mapping") == "/dev/sda1"
    assert [entry.get("dev") for entry in system.findall("filesystems/filesystem")] == [
        "/dev/sda1",
        "/dev/sda2",
    ]
    assert system.findtext("filesystems/filesystem/uuid") == "r"


# Arguments.


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ("secret", "a list of guestkit.Key, not str"),
        (Key("secret"), "a list of guestkit.Key, not Key"),
        (None, "a list of guestkit.Key, not NoneType"),
        (["secret"], "a list of guestkit.Key, not of str"),
    ],
)
def test_what_is_no_key_was_found_after_the_launch(keys: Any, told: str) -> None:
    """Regression: "'str' object has no attribute '_native'"."""

    async def wait() -> None:
        async with guestkit.aio.open_guest("missing.img", keys=keys):
            pass

    calls: tuple[Callable[[], Any], ...] = (
        lambda: guestkit.open_guest("missing.img", keys=keys),
        lambda: guestkit.inspect("missing.img", keys=keys),
        lambda: guestkit.inspect_many(["missing.img"], keys=keys),
        lambda: guestkit.diff_guests("missing.img", "missing.img", keys=keys),
        lambda: languages.find_in_guest("missing.img", FULL, keys=keys),
        lambda: GuestFileSystem("missing.img", keys=keys, skip_instance_cache=True),
        lambda: asyncio.run(wait()),
    )
    for call in calls:
        with pytest.raises(TypeError, match=f"keys must be {told}$"):
            call()


def test_a_key_shows_its_secret_nowhere(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    caplog.set_level(logging.DEBUG, "guestkit")
    key = Key("top secret", device="/dev/sda2")
    assert "top secret" not in repr(key) + str([key]) + f"{key}"
    copies = [copy.copy(key), pickle.loads(pickle.dumps(key))]
    assert [repr(one) for one in copies] == [repr(key)] * 2
    assert copies[1].passphrase == "top secret"
    missing = tmp_path / "missing.img"
    (report,) = guestkit.inspect_many([missing], keys=[key])
    assert "top secret" not in repr(report) + caplog.text


def test_a_passphrase_that_is_no_utf8_was_shown_as_a_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bytes from the command line are a passphrase like any other, and an error holds none of it."""
    assert Key("caf\udce9")._native() == (b"", b"caf\xe9", False)
    assert main(["inspect", "--key", "all:key:caf\udce9", str(tmp_path / "missing.img")]) == 1
    said = capsys.readouterr().err
    assert "no such file" in said.lower()
    assert "fault" not in said
    with pytest.raises(ValueError, match=r"the passphrase .* cannot be encoded") as caught:
        Key("secret\ud800")._native()
    assert "secret" not in repr(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("arguments", [{}, {"passphrase": "a", "file": "b"}])
def test_a_key_is_a_passphrase_or_a_file(arguments: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="either a passphrase or a file"):
        Key(**arguments)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"parts": ["users", "colour"]}, "'colour'; there are: filesystems, applications, users"),
        ({"mode": "fast"}, '"auto" or "libguestfs"'),
    ],
)
def test_wrong_arguments_are_named(tmp_path: Path, options: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        guestkit.inspect(tmp_path, **options)


def test_one_string_is_no_collection_of_parts(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="collection of names"):
        guestkit.inspect(tmp_path, parts="users")  # type: ignore[arg-type]


@pytest.mark.parametrize(("limit", "error"), [(0, ValueError), (True, TypeError), ("2", TypeError)])
def test_a_wrong_limit_of_appliances_is_refused(limit: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        guestkit.set_appliance_limit(limit)


# Paths.


@pytest.fixture
def bad_paths(tmp_path: Path) -> Iterator[dict[str, Path]]:
    paths = {name: tmp_path / name for name in ("missing", "directory", "empty", "fifo", "socket")}
    paths["directory"].mkdir()
    paths["empty"].touch()
    os.mkfifo(paths["fifo"])
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(paths["socket"]))
        yield paths | {"character device": Path("/dev/null"), "below a file": paths["empty"] / "disk"}


def test_each_bad_path_has_its_own_report_that_names_the_disk(bad_paths: dict[str, Path]) -> None:
    reasons = {
        "missing": (errno.ENOENT, "no such file"),
        "directory": (errno.EISDIR, "is a directory, not a disk image"),
        "empty": (errno.EINVAL, "is empty"),
        "fifo": (errno.EINVAL, "is a FIFO, not a disk image"),
        "socket": (errno.EINVAL, "is a socket, not a disk image"),
        "character device": (errno.EINVAL, "is a character device, not a disk image"),
        "below a file": (errno.ENOTDIR, "Not a directory"),
    }
    reports = {report.disk: report for report in guestkit.inspect_many(bad_paths.values())}
    for name, (code, reason) in reasons.items():
        error = reports[str(bad_paths[name])].error
        assert error is not None
        assert (error.kind, error.message, error.errno) == ("Error", f"{bad_paths[name]}: {reason}", code)


@pytest.mark.parametrize("name", ["", b"", "a\0b"])
def test_a_name_that_no_file_can_have(name: str | bytes) -> None:
    (report,) = guestkit.inspect_many([name])
    assert report.error is not None
    assert report.error.kind in ("Error", "ValueError")
    assert "\n" not in report.error.message


def test_an_image_that_needs_another_file_is_refused(tmp_path: Path) -> None:
    with Guestfs() as g:
        g.disk_create(tmp_path / "base.qcow2", "qcow2", 1 << 20)
        g.disk_create(
            tmp_path / "top.qcow2", "qcow2", -1, backingfile=tmp_path / "base.qcow2", backingformat="qcow2"
        )
    with pytest.raises(Error, match="base.qcow2"):
        guestkit.inspect(tmp_path / "top.qcow2")


# Fleets: the tests decide the outcome of each disk.

Outcome = Callable[[str], Inspection]


@pytest.fixture
def outcome(monkeypatch: pytest.MonkeyPatch) -> Callable[[Outcome], None]:
    """Replace the inspection of a disk by the function, on the same thread."""

    def use(decide: Outcome) -> None:
        def inspect_disks(self: Guestfs, disks: Any, options: InspectOptions) -> Inspection:
            if options.step is not None:
                options.step("inspecting")
            return decide(names_of(disks)[0])

        monkeypatch.setattr(Guestfs, "_inspect_disks", inspect_disks)

    return use


class Fleet:
    """A fleet, in its blocking or its async form."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def run(self, disks: Any, **options: Any) -> list[Report]:
        if self.kind == "sync":
            return list(guestkit.inspect_many(disks, **options))

        async def gather() -> list[Report]:
            return [report async for report in aio.inspect_many(disks, **options)]

        return asyncio.run(gather())


@pytest.fixture(params=["sync", "async"])
def fleet(request: pytest.FixtureRequest) -> Fleet:
    return Fleet(request.param)


def test_one_bad_disk_spoils_no_other(outcome: Any, fleet: Fleet) -> None:
    errors: dict[str, Exception] = {
        "crash": ApplianceCrashed("mount", "the appliance died", 5),
        "launch": LaunchError("launch", "no kernel", 0, "kernel_unreadable", "install one"),
        "bug": ZeroDivisionError("a\n b"),
    }

    def decide(disk: str) -> Inspection:
        if disk in errors:
            raise errors[disk]
        return FULL

    outcome(decide)
    reports = {report.disk: report for report in fleet.run(["good", *errors, b"bytes", "good2"])}
    assert reports.keys() == {"good", *errors, "bytes", "good2"}
    assert all(reports[name].inspection == FULL for name in ("good", "good2", "bytes"))
    messages = {name: str(report.error) for name, report in reports.items()}
    assert messages["crash"] == "crash: the appliance died"
    assert messages["launch"] == "launch: no kernel; install one"
    assert messages["bug"] == "bug: ZeroDivisionError: a b"
    crash = reports["crash"].error
    assert crash is not None
    assert (crash.kind, crash.errno, crash.op) == ("ApplianceCrashed", 5, "mount")


def test_no_more_at_once_than_asked_for_and_disks_are_taken_as_needed(outcome: Any, fleet: Fleet) -> None:
    lock = threading.Lock()
    running, most, taken, ended = 0, 0, 0, 0

    def decide(disk: str) -> Inspection:
        nonlocal running, most, ended
        with lock:
            running += 1
            most = max(most, running)
        with lock:
            running -= 1
            ended += 1
        return FULL

    def disks() -> Iterator[str]:
        nonlocal taken
        for number in range(20):
            taken += 1
            assert taken <= ended + 2, "a third one would be running"
            yield str(number)

    outcome(decide)
    assert len(fleet.run(disks(), concurrency=2)) == 20
    assert most <= 2


def test_progress_tells_steps_and_counts_to_the_end(outcome: Any, fleet: Fleet) -> None:
    told: list[FleetProgress] = []
    outcome(lambda disk: FULL)
    fleet.run(["a", "b", "c"], concurrency=1, progress=told.append)
    assert told[-1].done == 3
    assert {(disk, step) for progress in told for disk, step in progress.steps.items()} == {
        ("a", "inspecting"),
        ("b", "inspecting"),
        ("c", "inspecting"),
    }


def test_the_step_of_a_disk_vanished_when_another_of_its_name_ended(outcome: Any, fleet: Fleet) -> None:
    told: list[FleetProgress] = []
    both, one_is_told = threading.Barrier(2), threading.Event()

    def decide(disk: str) -> Inspection:
        if both.wait(60) == 0:
            assert one_is_told.wait(60)
        return FULL

    def progress(now: FleetProgress) -> None:
        told.append(now)
        if now.done:
            one_is_told.set()

    outcome(decide)
    fleet.run(["disk", "disk"], concurrency=2, progress=progress)
    counts = {(one.done, *one.steps.values()) for one in told}
    assert {(0, "inspecting", "inspecting"), (1, "inspecting"), (2,)} <= counts
    assert {name for one in told for name in one.steps} in ({"disk", "disk (1)"}, {"disk", "disk (2)"})


def test_a_name_made_up_for_the_progress_may_be_that_of_another_disk() -> None:
    told: list[FleetProgress] = []
    tally = Tally(told.append)
    for index, name in enumerate(["disk (3)", "disk", "disk"]):
        step = tally.following(index, name)
        assert step is not None
        step("inspecting")
    assert len(told[-1].steps) == 3


def test_progress_tells_how_long_inspections_take_without_those_that_failed(
    outcome: Any, fleet: Fleet
) -> None:
    told: list[FleetProgress] = []

    def decide(disk: str) -> Inspection:
        if disk == "bad":
            raise Error("inspect", "no", 0)
        return FULL

    outcome(decide)
    fleet.run(["bad"], concurrency=1, progress=told.append)
    assert {(one.mean, one.longest) for one in told} == {(None, None)}
    reports = fleet.run(["a", "bad", "b"], concurrency=1, progress=told.append)
    seconds = [report.seconds for report in reports if report.error is None]
    assert told[-1].mean == pytest.approx(sum(seconds) / 2)
    assert told[-1].longest == max(seconds)


def test_a_fleet_on_an_executor(outcome: Any, fleet: Fleet) -> None:
    told: list[int] = []
    outcome(lambda disk: FULL)
    with ThreadPoolExecutor(2) as executor:
        reports = fleet.run(
            ["a", "b", "c"], jobs_executor=executor, progress=lambda progress: told.append(progress.done)
        )
    assert sorted(report.disk for report in reports) == ["a", "b", "c"]
    assert all(report.inspection == FULL for report in reports)
    assert told[-1] == 3


def test_the_quota_of_a_container_did_not_bound_a_fleet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: on 64 processors a container with two had 64 appliances at once."""
    monkeypatch.setattr(_native, "available_processors", lambda: 3)
    assert many([]).at_once == 3


@pytest.mark.parametrize(("options", "most"), [({}, 100), ({"concurrency": 3}, 3)])
def test_an_executor_was_given_the_whole_fleet_at_once(
    outcome: Any, fleet: Fleet, options: Any, most: int
) -> None:
    done = 0
    ahead: list[int] = []
    is_full = threading.Event()

    def decide(disk: str) -> Inspection:
        assert is_full.wait(60)
        return FULL

    def count(progress: FleetProgress) -> None:
        nonlocal done
        done = progress.done

    def disks() -> Iterator[str]:
        for number in range(150):
            ahead.append(number + 1 - done)
            if ahead[-1] == most:
                is_full.set()
            yield str(number)

    outcome(decide)
    with ThreadPoolExecutor(1) as executor:
        reports = fleet.run(disks(), jobs_executor=executor, progress=count, **options)
    assert len(reports) == 150
    assert max(ahead) == most


def test_languages_are_looked_for_side_by_side_in_the_appliances_of_the_inspections(
    outcome: Any, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command launched another appliance for each guest, one after the other."""
    all_of_them, used = threading.Barrier(3, timeout=60), []

    def found_in(inspection: Inspection, asked: GuestArguments, opening: Any, timeout: float) -> Any:
        with opening as g:
            used.append(g)
        all_of_them.wait()
        return (LanguagePackages(packages=(), gaps=(names_of(asked.guest)[0], str(timeout))),)

    outcome(lambda disk: FULL)
    monkeypatch.setattr(Guestfs, "last_launch", lambda g: {}, raising=False)
    monkeypatch.setattr("guestkit.languages.found_in", found_in)
    told: list[str] = []
    reports = fleet.run(
        ["a", "b", "c"],
        concurrency=3,
        languages=True,
        timeout=7,
        progress=lambda now: told.extend(now.steps.values()),
    )
    assert {report.disk: report.languages[0].gaps for report in reports} == {
        name: (name, "7") for name in "abc"
    }
    assert len({id(g) for g in used}) == 3
    assert "looking for the packages of languages" in told
    assert [report.languages for report in fleet.run(["a"])] == [()]
    with pytest.raises(TypeError, match="'languages' must be bool"):
        fleet.run(["a"], languages="npm")


def test_the_languages_of_a_guest_whose_inspection_was_kept_need_a_launch(
    outcome: Any, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[object] = []
    outcome(lambda disk: FULL)
    monkeypatch.setattr(
        "guestkit._inspect_arguments.add_disks", lambda g, guest, opening, step: done.append(guest)
    )
    monkeypatch.setattr(Guestfs, "launch", lambda g: done.append("launch"))
    monkeypatch.setattr(languages, "_gather_in", lambda g, asked, *_: done.append(asked.root))
    (report,) = fleet.run(["a"], languages=True)
    assert done == ["a", "launch", *(system.root for system in FULL.operating_systems)]
    assert [one.root for one in report.languages] == done[2:]


class AtOnce(Executor):
    """Has done what it is given when it has taken it."""

    def submit(self, function: Any, /, *arguments: Any, **keywords: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*arguments, **keywords))
        return future


def test_a_report_that_was_ready_waited_for_the_next_disks_to_be_named(outcome: Any) -> None:
    told: list[str] = []

    def disks() -> Iterator[str]:
        yield "first"
        yield "second"
        assert "first" in told
        yield "third"

    outcome(lambda disk: FULL)
    for report in guestkit.inspect_many(disks(), concurrency=4, jobs_executor=AtOnce()):
        told.append(report.disk)
    assert told == ["first", "second", "third"]


async def test_the_loop_stood_still_while_a_disk_was_named(outcome: Any) -> None:
    outcome(lambda disk: FULL)
    disks: queue.SimpleQueue[str] = queue.SimpleQueue()
    disks.put("first")
    reports = aio.inspect_many(iter(lambda: disks.get(timeout=60), "end"), concurrency=4)
    assert (await anext(reports)).disk == "first"
    disks.put("second")
    assert (await anext(reports)).disk == "second"
    disks.put("end")
    assert [report async for report in reports] == []


@pytest.mark.parametrize("concurrency", [1, 2])
async def test_disks_may_be_named_while_a_fleet_runs(outcome: Any, concurrency: int) -> None:
    outcome(lambda disk: FULL)
    disks: asyncio.Queue[str] = asyncio.Queue()
    ended: list[str] = []

    async def named() -> AsyncGenerator[str, None]:
        try:
            while True:
                yield await disks.get()
        finally:
            ended.append("named")

    disks.put_nowait("first")
    async with (
        contextlib.aclosing(named()) as source,
        contextlib.aclosing(aio.inspect_many(source, concurrency=concurrency)) as reports,
    ):
        first = await anext(reports)
        disks.put_nowait("second")
        second = await anext(reports)
    assert (first.disk, first.index, second.disk, second.index) == ("first", 0, "second", 1)
    assert ended == ["named"]
    with pytest.raises(TypeError, match=r"guestkit\.aio\.inspect_many an async one"):
        guestkit.inspect_many(named())


@pytest.mark.parametrize("concurrency", [1, 4])
async def test_an_error_of_who_names_the_disks_lost_the_reports_before(
    outcome: Any, concurrency: int
) -> None:
    error = LookupError("no more")

    def named() -> Iterator[str]:
        yield "first"
        yield "second"
        raise error

    outcome(lambda disk: FULL)
    told: list[str] = []
    with pytest.raises(LookupError, match="no more"):
        async for report in aio.inspect_many(named(), concurrency=concurrency):
            told.append(report.disk)
    assert sorted(told) == ["first", "second"]
    told.clear()
    with pytest.raises(LookupError, match="no more"):
        for report in guestkit.inspect_many(named(), concurrency=concurrency):
            told.append(report.disk)
    assert sorted(told) == ["first", "second"]


def test_a_fleet_on_a_loop_had_never_more_than_64_disks_at_once(outcome: Any, fleet: Fleet) -> None:
    all_of_them = threading.Barrier(70, timeout=60)

    def decide(disk: str) -> Inspection:
        all_of_them.wait()
        return FULL

    outcome(decide)
    reports = fleet.run([str(number) for number in range(70)], concurrency=70)
    assert [report.error for report in reports] == [None] * 70


def test_a_fleet_on_a_loop_uses_the_programs_executor(outcome: Any) -> None:
    names: list[str] = []

    def decide(disk: str) -> Inspection:
        names.append(threading.current_thread().name)
        return FULL

    outcome(decide)
    with ThreadPoolExecutor(1, "mine") as executor:
        aio.set_executor(executor)
        try:
            assert len(Fleet("async").run(["a", "b"])) == 2
        finally:
            aio.set_executor(None)
    assert names == ["mine_0"] * 2


def test_the_time_of_an_inspection_began_while_it_waited_for_a_thread(
    outcome: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0

    class Late(ThreadPoolExecutor):
        def submit(self, *work: Any, **arguments: Any) -> Any:
            nonlocal now
            now += 1000
            return super().submit(*work, **arguments)

    outcome(lambda disk: FULL)
    for module in ("guestkit.fleet", "guestkit.aio.fleet"):
        monkeypatch.setattr(f"{module}.time", SimpleNamespace(monotonic=lambda: now))
    with Late(1) as executor:
        aio.set_executor(executor)
        try:
            (report,) = Fleet("async").run(["a"])
        finally:
            aio.set_executor(None)
    assert (now, report.seconds) == (1000, 0)


def test_an_executor_that_is_shut_down_gives_a_report_for_each_disk(fleet: Fleet) -> None:
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    reports = fleet.run(["a", "b"], jobs_executor=executor)
    assert [report.error and report.error.kind for report in reports] == ["RuntimeError"] * 2
    assert sorted(report.disk for report in reports) == ["a", "b"]


class ShutDown(ThreadPoolExecutor):
    """Is busy, and shut down as soon as it is given something to do."""

    def __init__(self) -> None:
        super().__init__(1)
        self.free = threading.Event()
        super().submit(self.free.wait)

    def submit(self, *work: Any, **arguments: Any) -> Any:
        future = super().submit(*work, **arguments)
        self.shutdown(wait=False, cancel_futures=True)
        return future


def test_a_disk_that_a_shut_down_executor_had_dropped_was_never_reported(
    fleet: Fleet,
) -> None:
    """Regression: it was waited for without end; in asyncio, whoever read the reports was cancelled."""
    executor = ShutDown()
    try:
        (report,) = fleet.run(["a"], jobs_executor=executor)
    finally:
        executor.free.set()
    assert str(report.error) == (
        "a: RuntimeError: the executor was shut down while the work waited for its turn; it did not run"
    )


@pytest.mark.parametrize(("concurrency", "error"), [(0, ValueError), (True, TypeError), ("all", TypeError)])
def test_a_wrong_concurrency_is_refused(fleet: Fleet, concurrency: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="concurrency"):
        fleet.run(["a"], concurrency=concurrency)


@pytest.mark.parametrize("ask", [guestkit.inspect_many, aio.inspect_many])
@pytest.mark.parametrize("one", ["web.qcow2", b"web.qcow2", Path("web.qcow2"), guestkit.Domain("web")])
def test_a_fleet_was_made_of_the_letters_of_one_name(ask: Any, one: Any) -> None:
    """Regression: nine reports told that "w", "e", "b" and the others are no disks."""
    with pytest.raises(TypeError, match="takes several guests; inspect"):
        ask(one)  # not awaited, not iterated


@pytest.mark.parametrize("ask", [guestkit.inspect, guestkit.inspect_many, aio.inspect, aio.inspect_many])
@pytest.mark.parametrize("wrong", [{"parts": ["all"]}, {"mode": "fast"}, {"in_use": "yes"}, {"blocksize": 1}])
def test_wrong_arguments_are_refused_by_the_call_itself(ask: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"inspect\(\) argument '{next(iter(wrong))}'"):
        ask(["disk"], **wrong)  # not awaited, not iterated


@pytest.mark.parametrize("ask", [guestkit.inspect, guestkit.inspect_many, aio.inspect, aio.inspect_many])
@pytest.mark.parametrize(
    ("wrong", "error"), [("x", TypeError), (True, TypeError), (-1, ValueError), (float("nan"), ValueError)]
)
def test_a_wrong_timeout_was_said_to_be_a_call_timeout(ask: Any, wrong: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^inspect\(\) argument 'timeout' must"):
        ask(["disk"], timeout=wrong)


def test_a_flag_that_is_no_bool_is_refused_by_name(g: Guestfs) -> None:
    for wrong in (0.5, 1, "no", None):
        with pytest.raises(TypeError, match=r"inspect\(\) argument 'verify' must be bool"):
            g.inspect(verify=wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"mount_guest\(\) argument 'readonly' must be bool"):
            mount_guest(g, readonly=wrong)  # type: ignore[arg-type]


def test_an_iterator_of_parts_or_keys_serves_for_every_guest(
    monkeypatch: pytest.MonkeyPatch, fleet: Fleet
) -> None:
    given = []

    def inspect_disks(self: Guestfs, disks: Any, options: InspectOptions) -> Inspection:
        given.append((list(options.parts), list(options.keys)))
        return FULL

    monkeypatch.setattr(Guestfs, "_inspect_disks", inspect_disks)
    fleet.run(["a", "b"], parts=iter(["users"]), keys=iter([Key("secret")]))
    assert given == [(["users"], [Key("secret")])] * 2


async def test_an_iterator_of_parts_inspected_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The options were converted twice, and the second time the iterator was at its end."""
    given = []

    def inspect(self: Guestfs, paths: Any, options: Any, spent: float) -> Any:
        given.append(options)
        raise Error("inspect", "enough")

    monkeypatch.setattr(_native.Handle, "_inspect", inspect)
    with Guestfs() as g, pytest.raises(Error, match="enough"):
        g.inspect(parts=iter(["users"]), keys=iter([Key("secret")]))  # type: ignore[arg-type]
    async with AsyncGuestfs() as later:
        with pytest.raises(Error, match="enough"):
            await later.inspect(parts=iter(["users"]), keys=iter([Key("secret")]))  # type: ignore[arg-type]
    assert given == [InspectOptions(parts=["users"], keys=[Key("secret")]).native()] * 2


def test_leaving_the_loop_early_ends_what_runs(monkeypatch: pytest.MonkeyPatch, outcome: Any) -> None:
    stuck = threading.Event()
    ended = threading.Event()
    monkeypatch.setattr(Guestfs, "terminate", lambda self: ended.set())

    def decide(disk: str) -> Inspection:
        if disk == "good":
            assert stuck.wait(60)
            return FULL
        stuck.set()
        assert ended.wait(60)
        raise Error("inspect", "terminated")

    outcome(decide)
    reports = guestkit.inspect_many(["good", "stuck"], concurrency=2)
    assert next(reports).disk == "good"
    reports.close()
    assert ended.is_set()


async def test_a_cancel_waits_until_everything_has_ended(
    monkeypatch: pytest.MonkeyPatch, outcome: Any
) -> None:
    begun, cancelled = threading.Semaphore(0), threading.Semaphore(0)
    over: list[str] = []
    monkeypatch.setattr(Guestfs, "cancel", lambda self: cancelled.release())

    def decide(disk: str) -> Inspection:
        begun.release()
        assert cancelled.acquire(timeout=60)
        over.append(disk)
        raise Error("inspect", "cancelled", errno.EINTR)

    outcome(decide)

    async def run() -> None:
        async with contextlib.aclosing(aio.inspect_many(["a", "b"], concurrency=2)) as reports:
            async for _ in reports:
                pass

    task = asyncio.create_task(run())
    for _ in "ab":
        await asyncio.to_thread(begun.acquire)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(over) == ["a", "b"]


async def test_a_second_cancel_left_inspections_running(
    monkeypatch: pytest.MonkeyPatch, outcome: Any
) -> None:
    begun, ends = threading.Event(), threading.Event()
    over: list[str] = []

    def decide(disk: str) -> Inspection:
        begun.set()
        assert ends.wait(60)
        over.append(disk)
        raise Error("inspect", "cancelled", errno.EINTR)

    async def run() -> None:
        async with contextlib.aclosing(aio.inspect_many(["a"])) as reports:
            async for _ in reports:
                pass

    outcome(decide)
    task = asyncio.create_task(run())
    assert await asyncio.to_thread(begun.wait, 60)
    for _ in "12":
        task.cancel()
        for _ in range(20):
            await asyncio.sleep(0)
    assert not task.done()
    ends.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert over == ["a"]


def test_all_parts_have_a_number_of_their_own() -> None:
    assert len({InspectOptions(parts=[part]).native()[0] for part in ALL_PARTS}) == len(ALL_PARTS)
