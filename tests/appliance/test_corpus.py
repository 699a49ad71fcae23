"""Inspect every guest of the corpus both ways: guestkit's own rules agree with libguestfs, or defer to it.

With a libguestfs whose rules are unknown they always defer, and the answers are right all the same.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

import guestkit
from guestkit import Error, Guestfs, Key, Report, _native, open_guest
from guestkit.guest import mount_guest
from guestkit.inspection import ALL_PARTS, json_schema
from tests import schemas
from tests.images.corpus import CORPUS, PASSPHRASE, SHORT, Image, images

NAMES = [name if name in SHORT else pytest.param(name, marks=pytest.mark.full) for name in CORPUS]


def unknown_rules() -> str:
    """Return why guestkit's own rules must not decide with the libguestfs here; "" if they may."""
    with Guestfs() as g:
        seen = g.version()
    return _native.unknown_rules(seen["major"], seen["minor"], seen["release"], seen["extra"])


UNKNOWN = unknown_rules()


def both_ways(path: Path) -> Report:
    parts = [part for part in ALL_PARTS if part != "icon"]
    (report,) = guestkit.inspect_many([path], parts=parts, verify=True)
    return report


@pytest.fixture(scope="module")
def reports(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[Report]]]:
    """Start inspecting the guests of the short form and of the selected tests; yield the pending reports."""
    selected = [
        str(item.callspec.params["name"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.path == request.path and "name" in item.fixturenames
    ]
    paths = images(tuple(dict.fromkeys([*SHORT, *selected])))
    with ThreadPoolExecutor(2) as threads:
        yield {name: threads.submit(both_ways, path) for name, path in paths.items()}
        threads.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name", NAMES)
def test_both_ways_say_the_same_and_it_is_right(name: str, reports: dict[str, Future[Report]]) -> None:
    report, image = reports[name].result(), CORPUS[name]
    found = report.inspection
    assert found is not None, report.error
    fast, error, rescue, corrections = image.fast, image.error, image.way == "rescue", {*image.corrections}
    if UNKNOWN:
        inspect_os_fails = error != "" or "operating_systems" in corrections
        if fast and inspect_os_fails:  # it tells nothing that could be corrected
            rescue, corrections = True, set()
        fast, error = False, ""
    assert found.provenance.reason.startswith(UNKNOWN)
    assert (found.provenance.way == "rescue") == rescue, found.provenance.reason
    assert found.provenance.verified == fast, found.provenance.reason
    assert len(found.provenance.differences) == bool(error), found.provenance.differences
    assert all(error in difference for difference in found.provenance.differences)
    corrected = {told.split(":")[0] for told in found.provenance.corrections}
    assert corrected == corrections or (image.undecided and not corrected), found.provenance.corrections
    if image.failures:
        told = [failure.message for failure in found.operating_systems[0].failures]
        assert len(told) == len(image.failures), told
        for message, part in zip(told, image.failures, strict=True):
            assert part in message
    assert schemas.faults(json.loads(json.dumps(found.to_dict())), json_schema()) == []
    systems = [
        (system.distro, system.major_version, system.minor_version, system.hostname)
        for system in found.operating_systems
    ]
    assert sorted(systems) == sorted(image.systems)
    assert [entry.reason for entry in found.unopened] == list(image.unopened), found.unopened
    told = [failure.message for system in found.operating_systems for failure in system.failures]
    told += [failure.message for failure in found.failures]
    for text in image.told:
        assert any(text in message for message in told), told
    assert image.told or rescue or not found.failures, found.failures
    if image.packages is not None:
        assert len(found.operating_systems[0].applications) == image.packages
    for fact, value in image.facts.items():
        assert getattr(found.operating_systems[0], fact) == value, fact


def test_a_guest_on_which_inspect_os_fails_is_reported_all_the_same() -> None:
    """Regression: one odd line in fstab lost the whole report, even the partitions."""
    (path,) = images(["odd lines"]).values()
    found = guestkit.inspect(path, mode="libguestfs")
    assert found.provenance.way == "rescue"
    assert "augeas" in found.provenance.reason
    (failure,) = found.failures
    assert (failure.part, failure.op) == ("operating_systems", "inspect_os")
    assert [one.device for one in found.partitions] == ["/dev/sda1", "/dev/sda2"]
    assert [(one.device, one.type) for one in found.filesystems] == [
        ("/dev/sda1", "ext4"),
        ("/dev/sda2", "ext4"),
    ]
    (system,) = found.operating_systems
    (same,) = guestkit.inspect(path).operating_systems
    assert dataclasses.replace(system, failures=()) == dataclasses.replace(same, failures=())
    assert system.failures == same.failures


def test_a_fast_answer_says_so_and_is_the_same(reports: dict[str, Future[Report]]) -> None:
    (path,) = images(["debian"]).values()
    found = guestkit.inspect(path)
    assert (found.provenance.way, found.provenance.reason) == ("libguestfs" if UNKNOWN else "fast", UNKNOWN)
    verified = reports["debian"].result().inspection
    assert verified is not None
    assert found.operating_systems[0].applications == verified.operating_systems[0].applications
    assert found.filesystems == verified.filesystems


def test_volume_groups_were_known_after_a_second_of_commands(caplog: pytest.LogCaptureFixture) -> None:
    """Regression: vgs, lvs, pvs and dmsetup took longer than all the rest of an inspection."""
    caplog.set_level(logging.DEBUG, "guestkit")
    (path,) = images(["lvm"]).values()
    found = guestkit.inspect(path)
    (group,) = found.layers
    assert group.devices == (f"/dev/{group.name}/ro-ot", f"/dev/{group.name}/var")
    assert group.members == ("/dev/sda1",)
    calls = {line.split(": trace: ")[1].split()[0] for line in caplog.messages if ": trace: " in line}
    assert "pread_device" in calls
    assert calls.isdisjoint({"vgs", "vgs_full", "vgpvuuids", "lvs", "pvs", "list_dm_devices"})


@pytest.mark.full
def test_the_right_key_was_called_wrong_where_it_wants_more_memory_than_there_is(tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    with Guestfs() as g:
        g.set_memsize(3072)
        g.disk_create(disk, "raw", 64 << 20)
        g.open_disk(disk, readonly=False, format="raw")
        g.launch()
        costs = "--pbkdf argon2id --pbkdf-memory 2097152 --pbkdf-force-iterations 4 --pbkdf-parallel 1"
        making = f"cryptsetup luksFormat -q --type luks2 {costs} /dev/sda -"
        g.debug("sh", [f"printf %s {PASSPHRASE!r} | {making}"])
        g.shutdown()
    (shut,) = guestkit.inspect(disk, format="raw", keys=[Key(PASSPHRASE)]).unopened
    assert shut.reason == "short of memory"
    assert shut.message == (
        f"the appliance has too little memory to try a key on /dev/sda or {shut.uuid}:"
        " give it more, such as LIBGUESTFS_MEMSIZE=4096"
    )
    with pytest.raises(Error) as caught, open_guest(disk, format="raw", keys=[Key(PASSPHRASE)]):
        pass
    assert (caught.value.cause, "set_memsize" in caught.value.hint) == ("memory", True)


def test_a_guest_behind_luks_says_which_key_it_wants_and_opens_with_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "guestkit")
    (path,) = images(["luks"]).values()
    file = tmp_path / "key"
    file.write_text(f"{PASSPHRASE}\nmore")
    with Guestfs() as g:
        g.open_disk(path)
        g.set_trace(True)
        g.launch()
        (shut,) = g.inspect(keys=[Key("wrong key"), Key(PASSPHRASE, device="/dev/sdz")]).unopened
        assert (shut.device, shut.type, shut.reason) == ("/dev/sda1", "crypto_LUKS", "encrypted")
        assert shut.message.startswith("none of the keys that were tried opens it (1); it needs one for")
        assert shut.uuid in shut.message
        found = g.inspect(keys=iter([Key(file=file, device=shut.uuid.upper())]))  # is used up only once
    (system,) = found.operating_systems
    assert (system.distro, system.hostname) == ("debian", "debian12")
    assert system.applications_complete
    assert found.unopened == ()
    (layer,) = found.layers
    assert (layer.kind, layer.members) == ("luks", ("/dev/sda1",))
    assert layer.devices == (f"/dev/mapper/luks-{shut.uuid}",)
    told = caplog.text + repr(found)
    assert "cryptsetup_open" in told  # there is a trace that could hold a secret
    for secret in (PASSPHRASE, "wrong key"):
        assert secret not in told


def test_a_device_that_an_inspection_had_opened_was_shut_to_the_next() -> None:
    (path,) = images(["luks"]).values()
    keys = [Key(PASSPHRASE)]
    with Guestfs() as g:
        g.open_disk(path)
        g.launch()
        (layer,) = g.inspect(keys=keys).layers
        assert mount_guest(g, keys=keys).root == layer.devices[0]
        assert g.read_small("/etc/hostname") == b"debian12\n"
        again = g.inspect(keys=keys)
        assert (again.layers, again.unopened) == ((layer,), ())
        g.cryptsetup_close(layer.devices[0])
        (shut,) = g.inspect().unopened
        assert (shut.device, shut.reason) == ("/dev/sda1", "encrypted")


@pytest.mark.full
def test_a_key_opens_the_volumes_inside_too() -> None:
    (path,) = images(["lvm in luks"]).values()
    found = guestkit.inspect(path, keys=[Key(PASSPHRASE)], verify=True)
    assert (found.provenance.verified, found.provenance.differences) == (True, ())
    assert [(system.distro, system.hostname) for system in found.operating_systems] == [
        ("debian", "debian12")
    ]
    assert found.unopened == ()
    luks, lvm = sorted(found.layers, key=lambda layer: layer.kind == "lvm")
    assert (luks.kind, luks.members) == ("luks", ("/dev/sda1",))
    assert (lvm.kind, lvm.members) == ("lvm", luks.devices)


# Files of a guest whose files are hostile.


@pytest.fixture(scope="module")
def hostile() -> Iterator[Guestfs]:
    (path,) = images(["hostile"]).values()
    with Guestfs() as g:
        g.add_drive(path, format="raw", readonly=True)
        g.launch()
        g.mount_ro("/dev/sda1", "/")
        yield g


def test_small_files_by_path_and_why_one_cannot_be_had(hostile: Guestfs) -> None:
    found = hostile.read_files(["/etc/hosts", "/etc/passwd", "/etc/default/locale", "/nothing", "/etc"])
    assert found["/etc/hosts"] == b"127.0.0.1 localhost\n"
    messages = {path: str(error) for path, error in found.items() if isinstance(error, guestkit.Error)}
    assert messages["/etc/passwd"] == "read_small: /etc/passwd: not a regular file"
    assert "not a regular file" in messages["/etc"]
    assert messages.keys() == {"/etc/passwd", "/etc/default/locale", "/nothing", "/etc"}
    assert list(found) == sorted(found)
    (alone,) = hostile.read_files(["/etc/../etc/hosts"]).values()
    assert alone == b"127.0.0.1 localhost\n"
    dots = hostile.read_files(["/etc/.", "/etc/..", "/etc/", "/etc/hosts"])
    assert [type(content) for content in dots.values()] == [guestkit.Error] * 3 + [bytes]
    assert hostile.read_small("/etc/os-release") == hostile.read_file("/etc/os-release")
    with pytest.raises(guestkit.Error, match="more than 5"):
        hostile.read_small("/etc/hosts", limit=5)


def test_files_of_one_directory_took_a_status_each(hostile: Guestfs) -> None:
    calls: list[str] = []
    hostile.set_event_callback(lambda _, __, text, ___: calls.append(text.split()[0]), guestkit.Event.TRACE)
    hostile.set_trace(True)
    found = hostile.read_files(["/etc/hosts", "/etc/os-release", "/etc/passwd", "/bin", "/nothing"])
    hostile.set_trace(False)
    assert isinstance(found["/etc/os-release"], bytes)
    assert isinstance(found["/etc/passwd"], guestkit.Error)
    assert (calls.count("lstatnslist"), calls.count("pread")) == (4, 4)


def test_a_walk_tells_each_file_once_and_follows_no_link(hostile: Guestfs) -> None:
    files = hostile.walk("/")
    by_path = {file.path: file for file in files}
    assert len(by_path) == len(files)
    assert sorted(by_path) == sorted("/" + name for name in hostile.find("/"))
    assert (by_path["/bin"].kind, by_path["/bin"].target) == ("l", "usr/bin")
    assert by_path["/etc/passwd"].kind == "p"
    assert by_path["/etc/hosts"].size == 20
    order = [file.path for file in files]
    assert order.index("/etc") < order.index("/etc/hosts")
    assert not [file for file in hostile.walk("/", max_depth=0) if file.path.count("/") > 1]
    with pytest.raises(guestkit.Error, match="more than 3 entries"):
        hostile.walk("/", max_entries=3)


def test_an_extracted_tree_leaves_nothing_outside(hostile: Guestfs, tmp_path: Path) -> None:
    host = tmp_path / "host"
    host.mkdir()
    done = hostile.extract("/etc", host)
    assert (host / "etc/hosts").read_bytes() == b"127.0.0.1 localhost\n"
    skipped = {file.path: file.reason for file in done.skipped}
    assert "neither a regular file" in skipped["/etc/passwd"]
    assert "points outside" in skipped["/etc/timezone"]
    assert "points outside" in skipped["/etc/machine-id"]
    links = [path for path in host.rglob("*") if path.is_symlink()]
    assert links
    assert all(path.parent.resolve().is_relative_to(host) for path in links)
    for link in links:
        assert (link.parent / link.readlink()).absolute().is_relative_to(host)
    assert done.files == sum(path.is_file() and not path.is_symlink() for path in host.rglob("*"))
    with pytest.raises(guestkit.Error, match="File exists"):
        hostile.extract("/etc", host)
    with pytest.raises(guestkit.Error, match="more than 10 bytes in all; max_bytes permits more"):
        hostile.extract("/boot", host, max_bytes=10)


def test_the_corpus_covers_both_ways() -> None:
    fast = [image.fast for image in CORPUS.values()]
    assert any(fast)
    assert not all(fast)
    assert all(isinstance(image, Image) for image in CORPUS.values())
