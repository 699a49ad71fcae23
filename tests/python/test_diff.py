"""Two guests compared, of inspections made by hand."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

import guestkit
import guestkit.cli.diff
import guestkit.cli.guests
from guestkit import Domain, Error, Inspection, Report
from guestkit.cli import main
from guestkit.comparison import Change, json_schema
from guestkit.demo import DEMO_SYSTEM
from guestkit.disks import Guest, names_of
from guestkit.fleet import Failure
from guestkit.guest import GuestArguments
from guestkit.handle_options import HandleOptions
from guestkit.inspection import (
    ALL_PARTS,
    Application,
    Filesystem,
    Kernel,
    NetworkInterface,
    OperatingSystem,
    PartFailure,
    UnopenedFilesystem,
    User,
)
from tests import schemas
from tests.inspections import NOTHING_FOUND

NETWORK = NetworkInterface(
    name="eth0", method="dhcp", addresses=(), gateway="", dns=("::1", "::2"), mac="", source="/f"
)
ROOT = User(name="root", uid=0, gid=0, full_name="", home="/root", shell="/bin/sh")
KERNEL = Kernel(version="6.1", image="/boot/vmlinuz-6.1", initrd="", modules=True)
DISK = Filesystem(device="/dev/sda1", type="ext4", label="root", uuid="u", size=1 << 30, used=5)


def system(**more: Any) -> OperatingSystem:
    return replace(DEMO_SYSTEM, **more)


def found(*systems: OperatingSystem, **more: Any) -> Inspection:
    return replace(NOTHING_FOUND, operating_systems=systems, **more)


def application(name: str, version: str, release: str = "", epoch: int = 0, arch: str = "") -> Application:
    return replace(
        DEMO_SYSTEM.applications[0], name=name, version=version, release=release, epoch=epoch, arch=arch
    )


def packages(kind: str, *apps: Application) -> Inspection:
    return found(system(package_format=kind, applications=apps))


def changes(a: Inspection, b: Inspection) -> list[tuple[str, str, str | None, str | None, str]]:
    return [(one.part, one.name, one.before, one.after, one.order) for one in guestkit.diff(a, b).changes]


def test_a_guest_does_not_differ_from_itself() -> None:
    whole = found(
        system(users=(ROOT, ROOT), kernels=(KERNEL,), network=(NETWORK,), services=("ssh",)),
        filesystems=(DISK,),
    )
    same = guestkit.diff(whole, whole)
    assert (same.changes, same.unknown) == ((), ())


def test_many_users_of_one_name_do_not_hold_the_comparison() -> None:
    """It took minutes: the number of each was sought from 1 on."""
    users = [replace(ROOT, name="a")] * 100_000 + [replace(ROOT, name=f"a #{n}") for n in range(2, 1000)]
    before, after = found(system(users=users)), found(system(users=[*users, ROOT]))
    began = time.process_time()
    assert changes(before, after) == [("users", "root", None, "0, 0, /root, /bin/sh", "")]
    assert time.process_time() - began < 20
    twins = found(system(users=[replace(ROOT, name=name) for name in ("a", "a", "a #2", "a")]))
    assert [name for _, name, *_ in changes(found(system(users=())), twins)] == ["a", "a #2", "a #3", "a #4"]


def test_each_part_says_what_differs() -> None:
    before = found(
        system(
            users=(ROOT, replace(ROOT, name="old", uid=1000)),
            kernels=(KERNEL,),
            network=(NETWORK,),
            services=("cron", "ssh"),
            hostname="web",
        ),
        filesystems=(DISK,),
    )
    after = found(
        system(
            users=(replace(ROOT, shell="/bin/bash"), replace(ROOT, name="new", uid=1001)),
            kernels=(KERNEL, replace(KERNEL, version="6.2")),
            network=(replace(NETWORK, dns=("::1",)),),
            services=("cron", "nginx"),
            hostname="db",
            mountpoints={"/": "/dev/sda1", "/srv": "/dev/sdb1"},
            os_release={**DEMO_SYSTEM.os_release, "VERSION_ID": "12.6"},
        ),
        filesystems=(replace(DISK, label="new", used=7),),
    )
    compared = guestkit.diff(before, after)
    shown = [(one.part, one.name, one.field, one.before, one.after) for one in compared.changes]
    assert shown == [
        ("system", "hostname", "", "web", "db"),
        ("os_release", "VERSION_ID", "", "12.5", "12.6"),
        ("users", "new", "", None, "1001, 0, /root, /bin/sh"),
        ("users", "old", "", "1000, 0, /root, /bin/sh", None),
        ("users", "root", "shell", "/bin/sh", "/bin/bash"),
        ("services", "nginx", "", None, ""),
        ("services", "ssh", "", "", None),
        ("kernels", "6.2", "", None, "/boot/vmlinuz-6.1, yes"),
        ("network", "eth0", "dns", "::1 ::2", "::1"),
        ("mountpoints", "/srv", "", None, "/dev/sdb1"),
        ("mountpoints", "/var", "", "/dev/sda2", None),
        ("filesystems", "/dev/sda1", "label", "root", "new"),
    ]
    told = json.loads(json.dumps(compared.to_dict()))
    assert schemas.faults(told, json_schema()) == []
    assert told["schema"] == "guestkit.diff/1"
    assert {one.name for one in Change.__dataclass_fields__.values()} == set(told["changes"][0])


@pytest.mark.parametrize(
    ("kind", "before", "after", "order"),
    [
        ("deb", ("1.0~rc1", "1"), ("1.0", "1"), "newer"),
        ("deb", ("5.2", "2+b2"), ("5.2", "2"), "older"),
        ("deb", ("9", "1", 0), ("1", "1", 1), "newer"),
        ("rpm", ("1.9", "1.el9"), ("1.10", "1.el9"), "newer"),
        ("rpm", ("1.0^git1", "1"), ("1.0", "1"), "older"),
        ("rpm", ("1.0", "2"), ("0.9", "1", 3), "newer"),
        ("apk", ("1.2.5_alpha2", "0"), ("1.2.5", "0"), "newer"),
        ("apk", ("1.2.5", "9"), ("1.2.5", "10"), "newer"),
        ("pacman", ("6.9.arch1", "1"), ("6.10.arch1", "1"), "newer"),
        ("registry", ("1", ""), ("2", ""), ""),  # nobody knows the rules of its programs
        ("deb", ("not a version", ""), ("2", ""), ""),
        ("rpm", ("x:y:1", "\udcff"), ("2^\x00", ""), ""),
        ("deb", ("1" * 100_000, ""), ("2" * 100_000, ""), ""),
    ],
)
def test_versions_are_compared_as_the_distribution_does(
    kind: str, before: tuple[Any, ...], after: tuple[Any, ...], order: str
) -> None:
    ((_, name, _, _, seen),) = changes(
        packages(kind, application("a", *before)), packages(kind, application("a", *after))
    )
    assert (name, seen) == ("a", order)


def test_a_package_can_have_several_versions_and_architectures() -> None:
    kernels = [application("kernel", version, "1.fc41") for version in ("6.1", "6.2", "6.3")]
    assert changes(packages("rpm", *kernels[:2]), packages("rpm", *kernels[1:])) == [
        ("packages", "kernel", "6.1-1.fc41", "6.3-1.fc41", "newer")
    ]
    assert changes(packages("rpm", *kernels[:1]), packages("rpm", *kernels)) == [
        ("packages", "kernel", None, "6.2-1.fc41", ""),
        ("packages", "kernel", None, "6.3-1.fc41", ""),
    ]
    amd64, i386 = (application("libc6", "2.36", "9", arch=arch) for arch in ("amd64", "i386"))
    assert changes(packages("deb", amd64), packages("deb", amd64, i386)) == [
        ("packages", "libc6:i386", None, "2.36-9", "")
    ]
    alpine = packages("apk", application("musl", "1.2", "0"))
    assert changes(alpine, packages("apk")) == [("packages", "musl", "1.2-r0", None, "")]


def test_a_package_of_another_architecture_is_a_difference() -> None:
    """Each guest had one architecture, so that it was no part of the name."""
    amd64, i386, unknown = (application("libc6", "2.36", "9", arch=arch) for arch in ("amd64", "i386", ""))
    assert changes(packages("deb", amd64), packages("deb", i386)) == [
        ("packages", "libc6:amd64", "2.36-9", None, ""),
        ("packages", "libc6:i386", None, "2.36-9", ""),
    ]
    assert changes(packages("deb", unknown), packages("deb", amd64)) == []


def test_one_of_two_programs_of_one_name_and_version_is_removed() -> None:
    """Versions were a set."""
    twins = [replace(application(key, "1.0"), display_name="Runtime") for key in ("{1}", "{2}")]
    assert changes(packages("unknown", *twins), packages("unknown", twins[0])) == [
        ("packages", "Runtime", "1.0", None, "")
    ]


def test_versions_of_different_package_managers_have_no_order() -> None:
    assert changes(packages("deb", application("a", "1")), packages("rpm", application("a", "2"))) == [
        ("system", "package_format", "deb", "rpm", ""),
        ("packages", "a", "1", "2", ""),
    ]


@pytest.mark.parametrize(
    ("kind", "parts", "shown"),
    [
        ("rpm", ("5.2", "(none)", -5), "4294967291:5.2"),
        ("rpm", ("(none)", "1", 0), "1"),
        ("apk", ("5.2", "3", 0), "5.2-r3"),
    ],
)
def test_a_version_is_written_as_in_a_bill_of_materials(
    kind: str, parts: tuple[Any, ...], shown: str
) -> None:
    """rpm's epoch -5 without a release was "-5:5.2-(none)" in one of the two."""
    guest = packages(kind, application("a", *parts))
    ((*_, seen, _),) = changes(packages(kind), guest)
    assert seen == shown
    components = guestkit.sbom(guest).document["components"]
    assert [one["version"] for one in components if one["name"] == "a"] == [shown]


# What is not known.

LOST = PartFailure(part="applications", message="the database is a FIFO", op="", errno=0)


def test_what_one_of_the_guests_does_not_tell_is_no_difference() -> None:
    lost = found(system(applications=(), applications_complete=False, failures=(LOST,)))
    compared = guestkit.diff(lost, found(system()))
    assert compared.changes == ()
    assert compared.unknown == ("first: applications: the database is a FIFO",)
    users = found(system(failures=(replace(LOST, part="users"),)))
    assert guestkit.diff(users, found(system(users=(ROOT,)))).changes == ()
    disks = found(system(), failures=(replace(LOST, part="filesystems"),))
    compared = guestkit.diff(disks, found(system(), filesystems=(DISK,)))
    assert (compared.changes, len(compared.unknown)) == ((), 1)


def asked_for(inspection: Inspection, *parts: str) -> Inspection:
    return replace(inspection, provenance=replace(inspection.provenance, parts=parts))


WHOLE = found(
    system(
        users=(ROOT,),
        kernels=(KERNEL,),
        network=(NETWORK,),
        services=("ssh",),
        timezone="CET",
        locale="C",
        machine_id="1",
    ),
    filesystems=(DISK,),
)
#: As `inspect` tells of the same guest without parts.
BARE = asked_for(found(system(applications=(), applications_complete=False)))
COMPARED = [part for part in ALL_PARTS if part != "icon"]


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        (["users"], {"users"}),
        (["applications", "locale"], {"packages", "timezone"}),
        (["filesystems"], {"filesystems"}),
        ([], set()),
        (None, {"users", "packages", "timezone", "hostname", "mountpoints", "filesystems"}),
    ],
)
def test_nothing_is_compared_but_the_parts_that_are_asked_for(parts: Any, told: set[str]) -> None:
    before = system(users=(ROOT,), timezone="UTC", hostname="web", mountpoints={"/": "/dev/sda1"})
    after = system(applications=(), timezone="CET", hostname="db", mountpoints={})
    a, b = found(before, filesystems=(DISK,)), found(after)
    compared = guestkit.diff(a, b, parts=parts).changes
    assert {one.name if one.part == "system" else one.part for one in compared} == told


def test_parts_that_nobody_asks_for_are_not_unknown() -> None:
    failed = replace(LOST, part="applications"), replace(LOST, part="users")
    a, b = found(system(failures=failed), failures=failed), found(system())
    said = "first: {}: the database is a FIFO"
    assert [*guestkit.diff(a, b, parts=["users"]).unknown] == [said.format("users")] * 2
    # What is always looked for may hide something in any part.
    hiding = found(system(failures=(replace(LOST, part="mountpoints"),)))
    assert said.format("mountpoints") in guestkit.diff(hiding, b, parts=["users"]).unknown
    # Nor is it said that only one inspection was asked for them.
    only_users = asked_for(BARE, "users")
    assert guestkit.diff(only_users, asked_for(BARE, "users", "services"), parts=["users"]).unknown == ()


def test_a_system_that_only_one_guest_has_is_told_whatever_the_parts() -> None:
    (change,) = guestkit.diff(found(), found(system()), parts=["users"]).changes
    assert (change.part, change.before) == ("operating_systems", None)


@pytest.mark.parametrize("parts", [["packages"], "users"])
def test_a_part_that_is_none_is_refused(parts: Any) -> None:
    with pytest.raises(ValueError, match="diff.*parts.*no part of inspections"):
        guestkit.diff(BARE, BARE, parts=parts)


def test_what_only_one_inspection_was_asked_for_was_reported_as_removed() -> None:
    for a, b, side in ((WHOLE, BARE, "first"), (BARE, WHOLE, "second")):
        compared = guestkit.diff(a, b)
        assert compared.changes == ()
        assert [one.split(":")[0] for one in compared.unknown] == COMPARED
        assert all(f"only the {side} inspection was asked" in one for one in compared.unknown)
    assert guestkit.diff(BARE, BARE).unknown == ()
    users = asked_for(found(system(users=(ROOT,), applications=(), applications_complete=False)), "users")
    compared = guestkit.diff(users, asked_for(found(system()), *COMPARED))
    assert [(one.part, one.name) for one in compared.changes] == [("users", "root")]


def test_an_inspection_of_an_earlier_version_does_not_say_what_it_was_asked_for() -> None:
    def of_earlier(inspection: Inspection) -> Inspection:
        told = json.loads(json.dumps(inspection.to_dict()))
        del told["provenance"]["parts"], told["schema"]
        return Inspection.from_native(told)

    for a, b in ((of_earlier(WHOLE), BARE), (of_earlier(WHOLE), of_earlier(BARE)), (WHOLE, of_earlier(BARE))):
        compared = guestkit.diff(a, b)
        assert (compared.changes, len(compared.unknown)) == ((), len(COMPARED))
    other = replace(WHOLE, operating_systems=[replace(WHOLE.operating_systems[0], users=(ROOT, ROOT))])
    compared = guestkit.diff(of_earlier(WHOLE), of_earlier(other))
    assert ([one.name for one in compared.changes], compared.unknown) == (["root #2"], ())


@pytest.mark.parametrize(
    ("part", "lost"),
    [
        ("mountpoints", {"mountpoints": {}}),
        ("locale", {"locale": "", "timezone": ""}),
        ("machine_id", {"machine_id": ""}),
        ("os_release", {"os_release": {}, "distro": "unknown", "package_format": "unknown"}),
        ("arch", {"arch": "unknown"}),
        ("hostname", {"hostname": "unknown", "drive_mappings": {}}),
        ("drive_mappings", {"drive_mappings": {}}),
        ("product_name", {"product_name": "unknown", "major_version": 0, "minor_version": 0}),
    ],
)
def test_what_one_inspection_failed_to_find_out_was_a_difference(part: str, lost: dict[str, Any]) -> None:
    """One line of fstab that cannot be read removed its mountpoint."""
    whole = replace(WHOLE.operating_systems[0], drive_mappings={"C": "/dev/sda1"})
    failed = replace(whole, failures=(replace(LOST, part=part),), **lost)
    compared = guestkit.diff(found(whole), found(failed))
    assert compared.changes == ()
    assert compared.unknown == (f"second: {part}: the database is a FIFO",)
    assert guestkit.diff(found(replace(failed, failures=())), found(whole)).changes != ()


def test_a_system_that_could_not_be_mounted_lost_all_its_files() -> None:
    unread = replace(
        BARE.operating_systems[0], os_release={}, failures=(replace(LOST, part="mountpoints", op="mount"),)
    )
    compared = guestkit.diff(found(unread), replace(WHOLE, filesystems=()))
    assert compared.changes == ()
    assert compared.unknown[0] == "first: mountpoints: the database is a FIFO"
    empty = [one.split(":")[1].strip() for one in compared.unknown[1:]]
    facts = ["locale", "machine_id", "timezone"]
    assert empty == sorted([*facts, "os_release", "users", "services", "kernels", "network"])


def test_facts_were_lost_in_silence_beside_a_mountpoint_that_failed() -> None:
    failed = replace(
        WHOLE.operating_systems[0],
        failures=(replace(LOST, part="mountpoints"),),
        hostname="unknown",
        major_version=0,
        minor_version=0,
    )
    compared = guestkit.diff(WHOLE, replace(WHOLE, operating_systems=(failed,)))
    assert compared.changes == ()
    assert compared.unknown == (
        "second: mountpoints: the database is a FIFO",
        "second: hostname: nothing was found where not all is mounted",
        "second: version: nothing was found where not all is mounted",
    )


def test_facts_of_a_deployment_of_ostree_were_not_compared() -> None:
    """Its failure says that nothing but / is mounted: nothing else is there to be mounted."""
    after = replace(
        WHOLE.operating_systems[0], failures=(replace(LOST, part="mountpoints"),), root_directory="/ostree/a"
    )
    before = replace(after, hostname="unknown", services=())
    compared = changes(found(before), found(after))
    assert [(part, name) for part, name, *_ in compared] == [
        ("system", "hostname"),
        *(("services", name) for name in after.services),
    ]


def test_a_system_behind_a_missing_key_was_removed() -> None:
    locked = UnopenedFilesystem(
        device="/dev/sda2", type="crypto_LUKS", uuid="u", reason="encrypted", message="it wants a key"
    )
    closed = found(unopened=(locked,))
    compared = guestkit.diff(WHOLE, closed)
    assert compared.changes == ()
    assert compared.unknown == (
        "second: operating_systems: /dev/sda1 may be there, too: /dev/sda2 was not opened: it wants a key",
        "second: filesystems: /dev/sda1 may be there, too: /dev/sda2 was not opened: it wants a key",
    )
    assert len(guestkit.diff(closed, found(failures=(replace(LOST, part="operating_systems"),))).unknown) == 1
    both = guestkit.diff(replace(WHOLE, unopened=(locked,)), closed)  # so it is not there
    assert [one.part for one in both.changes] == ["operating_systems", "filesystems"]


def test_several_systems_are_compared_by_their_places() -> None:
    one, two = system(root="/dev/sda1", hostname="one"), system(root="/dev/sdb1", hostname="two")
    compared = guestkit.diff(found(one, two), found(two, replace(one, hostname="ONE")))
    assert [(change.system, change.after) for change in compared.changes] == [("/dev/sda1", "ONE")]
    compared = guestkit.diff(found(one), found(one, two))
    assert [(change.part, change.name, change.before) for change in compared.changes] == [
        ("operating_systems", "/dev/sdb1", None)
    ]
    moved = guestkit.diff(found(one), found(replace(one, root="/dev/vg/root")))
    assert moved.changes == ()


def test_without_the_library_the_error_says_what_to_install() -> None:
    program = """
import sys
sys.modules["univers"] = None
import guestkit
from tests.inspections import NOTHING_FOUND
try:
    guestkit.diff(NOTHING_FOUND, NOTHING_FOUND)
except guestkit.Error as error:
    print(error)
"""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout == (
        "diff: univers, which comparing versions needs, is not installed; pip install 'univers>=30.12'\n"
    )


# The command.

Serve = Callable[..., dict[str, Any]]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Feed the command these two guests, the second one first; return what it asked for."""
    given: dict[str, Any] = {}

    def serve(*guests: Inspection | Failure) -> dict[str, Any]:
        def inspect_many(disks: Sequence[str], **options: Any) -> Iterator[Report]:
            given.update(options)
            for index, guest in reversed(list(enumerate(guests))):
                report = Report(disk=disks[index], disks=(disks[index],), index=index)
                if isinstance(guest, Failure):
                    yield replace(report, error=guest)
                else:
                    yield replace(report, inspection=guest)

        monkeypatch.setattr(guestkit.cli.guests, "inspect_many", inspect_many)
        return given

    return serve


TEXT = """\
CHANGE  PART      NAME         BEFORE   AFTER
older   packages  bash         5.2-2    5.2-1
added   packages  evil\\x1b[2J           1
newer   packages  vim          2:9-1    2:10-1
removed users     root         0, 0, /root, /bin/sh
"""


def test_the_status_is_that_of_diff(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    same = packages("deb", application("bash", "5.2", "2"), application("vim", "9", "1", 2))
    asked = serve(same, same)
    assert main(["diff", "a", "b"]) == 0
    assert capsys.readouterr() == ("", "")
    assert set(asked["parts"]) == set(guestkit.inspection.ALL_PARTS) - {"icon"}
    other = packages(
        "deb",
        application("bash", "5.2", "1"),
        application("vim", "10", "1", 2),
        application("evil\x1b[2J", "1"),
    )
    serve(replace(same, operating_systems=[replace(same.operating_systems[0], users=(ROOT,))]), other)
    assert main(["diff", "a", "b"]) == 1
    out, err = capsys.readouterr()
    assert [line.split() for line in out.splitlines()] == [line.split() for line in TEXT.splitlines()]
    assert err == ""


@pytest.mark.parametrize(
    ("only", "parts"),
    [
        ("users", {"users"}),
        ("applications,locale", {"packages", "system"}),
        ("machine_id", set()),
        ("all", {"users", "packages", "system", "os_release", "mountpoints"}),
    ],
)
def test_only_what_was_chosen_is_compared(
    only: str, parts: set[str], serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    """--only users told of mountpoints, too."""
    before = system(users=(ROOT,), timezone="UTC", hostname="web", mountpoints={"/": "/dev/sda1"})
    after = system(applications=(), timezone="CET", hostname="db", mountpoints={}, os_release={})
    serve(found(before), found(after))
    assert main(["diff", "--json", "--only", only, "a", "b"]) == bool(parts)
    told = json.loads(capsys.readouterr().out)["changes"]
    assert {change["part"] for change in told} == parts
    if only == "applications,locale":
        assert [change["name"] for change in told if change["part"] == "system"] == ["timezone"]


@pytest.mark.parametrize(
    ("words", "before", "after"),
    [
        (["-d", "web", "web"], Domain("web", "test:///x"), "web"),  # each has its own result
        (["web", "-dweb"], "web", Domain("web", "test:///x")),
        (["-d", "web", "--domain=db"], Domain("web", "test:///x"), Domain("db", "test:///x")),
        (["https://x/d?on=1", "https://x/d?on=2"], "https://x/d?on=1", "https://x/d?on=2"),  # one name
    ],
)
def test_a_guest_of_libvirt_could_not_be_compared(
    words: list[str],
    before: Guest,
    after: Guest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def inspect_many(guests: Sequence[Guest], **options: Any) -> Iterator[Report]:
        for index, guest in reversed(list(enumerate(guests))):
            names, there = names_of(guest), found(system(hostname=str(guest)))
            yield Report(disk=names[0], disks=names, inspection=there, index=index)

    monkeypatch.setattr(guestkit.cli.guests, "inspect_many", inspect_many)
    assert main(["diff", "--json", "--connect", "test:///x", *words]) == 1
    (change,) = json.loads(capsys.readouterr().out)["changes"]
    assert (change["before"], change["after"]) == (str(before), str(after))


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["-d", "web"], "required: DISK"),
        (["-d", "web", "a", "b"], "no argument 'b'"),
        (["-d", "web", "-d", "db", "-d", "old"], "two guests are compared"),
        (["--files", "a", "-qdweb", "b"], "no argument 'b'"),
        (["-d", "web", "a", "--member", "x"], "--member is of an archive"),
    ],
)
def test_two_guests_are_compared_not_more_nor_less(
    words: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["diff", *words])
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize(("words", "limit"), [([], None), (["--timeout", "5"], 5.0)])
def test_the_files_of_large_guests_had_the_time_of_an_inspection(
    words: list[str], limit: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[HandleOptions] = []

    def launched(arguments: GuestArguments) -> NoReturn:
        asked.append(arguments.handle)
        raise Error("launch", "that is enough", 0)

    monkeypatch.setattr(guestkit.file_comparison, "launched", launched)
    assert main(["diff", "--files", *words, "a", "b"]) == 2
    assert [handle.call_timeout for handle in asked] == [limit]


def test_an_inspection_has_its_time_unless_another_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def inspect_many(guests: Sequence[Guest], **options: Any) -> Iterator[Report]:
        asked.append(options)
        for guest in guests:
            yield Report(disk=names_of(guest)[0], disks=names_of(guest), inspection=found(system()))

    monkeypatch.setattr(guestkit.cli.guests, "inspect_many", inspect_many)
    assert main(["diff", "a", "b"]) == 0
    assert main(["diff", "--timeout", "5", "a", "b"]) == 0
    assert [options["timeout"] for options in asked] == [600.0, 5.0]


def test_an_icon_is_not_offered(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["diff", "--only", "icon", "a", "b"])
    assert "no part 'icon'" in capsys.readouterr().err


def test_one_disk_is_too_few_and_the_usage_names_both(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["diff", "a"])
    err = capsys.readouterr().err
    assert "BEFORE AFTER" in err
    assert "required: AFTER" in err


def test_json_is_the_comparison(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = packages("deb", application("a", "1")), packages("deb")
    serve(before, after)
    assert main(["diff", "--json", "a", "b"]) == 1
    out, _ = capsys.readouterr()
    assert json.loads(out) == json.loads(json.dumps(guestkit.diff(before, after).to_dict()))


def test_trouble_has_a_status_of_its_own(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    whole = found(system())
    serve(whole, Failure(kind="Error", message="b: is empty", errno=22, op="probe"))
    assert main(["diff", "a", "b"]) == 2
    assert capsys.readouterr() == ("", "guestkit: error: b: is empty\n")
    serve(whole, found(system(applications=(), applications_complete=False, failures=(LOST,))))
    assert main(["diff", "a", "b"]) == 2
    assert capsys.readouterr() == (
        "",
        "guestkit: error: not compared: second: applications: the database is a FIFO\n",
    )


def test_an_error_of_the_command_is_trouble(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was status 1, which would tell of differences."""

    def require() -> None:
        raise guestkit.Error("diff", "univers is not installed", 38)

    monkeypatch.setattr(guestkit.cli.diff, "require", require)
    assert main(["diff", "a", "b"]) == 2
    assert capsys.readouterr() == ("", "guestkit: error: univers is not installed\n")
