"""Packages of programming languages among the files of a guest, which is a dictionary here."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import math
import re
import sys
import tracemalloc
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, replace
from typing import Any

import pytest

import guestkit
import guestkit.cli.guests
from guestkit import ApplianceKilled, CallTimeout, Error, languages
from guestkit.cli import main
from guestkit.demo import DEMO_SYSTEM
from guestkit.files import GuestFile
from guestkit.generated.values import Mounted, PartFailure
from guestkit.guest import GuestArguments
from guestkit.handle_options import HandleOptions
from guestkit.inspection import Key
from guestkit.languages import LanguagePackage, LanguagePackages, find_packages
from tests.inspections import NOTHING_FOUND


class Guest:
    """A guest with these files."""

    def __init__(self, files: Mapping[str, bytes], kind: Any = "-", not_entered: Iterable[str] = ()) -> None:
        self.files = files
        self.kind = kind
        self.not_entered = not_entered

    def walk(self, directory: str) -> list[GuestFile]:
        facts: dict[str, Any] = {
            "mode": 0o644,
            "uid": 0,
            "gid": 0,
            "mtime": 0,
            "target": "",
            "kind": self.kind,
        }
        left_out = [GuestFile(path=path, size=0, not_entered=True, **facts) for path in self.not_entered]
        return left_out + [GuestFile(path=path, size=len(text), **facts) for path, text in self.files.items()]

    def read_files(self, paths: Iterable[str], *, limit: int) -> dict[str, bytes | Error]:
        large = Error("read_small", "is too large", 27)
        return {path: self.files[path] if len(self.files[path]) <= limit else large for path in paths}

    def statns(self, path: str) -> dict[str, int]:
        return {"st_size": len(self.files[path])}

    def pread(self, path: str, count: int, offset: int) -> bytes:
        return self.files[path][offset : offset + count]


def found(files: Mapping[str, bytes], **options: Any) -> LanguagePackages:
    guest: Any = Guest(files, **options)
    return find_packages(guest, root="/dev/sda1")


def test_packages_that_lie_too_deep_were_left_out_of_a_complete_bill() -> None:
    gaps = tuple(f"{path}: too deep: what is in there is not looked at" for path in ("/a", "/b"))
    assert found({"/d": b""}, kind="d", not_entered=("/a", "/b")).gaps == gaps


def archive(files: Mapping[str, str | bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as written:
        for name, text in files.items():
            written.writestr(name, text)
    return content.getvalue()


POM = "#Generated\ngroupId=org.apache.logging.log4j\nartifactId=log4j-core\nversion=2.14.1\n"
MANIFEST = (
    "Manifest-Version: 1.0\r\nImplementation-Title: my-\r\n app\r\nImplementation-Version: 1.2\r\n"
    "Implementation-Vendor-Id: org.example\r\n"
)
FILES = {
    "/usr/lib/python3/dist-packages/Foo_Bar-1.0.dist-info/METADATA": (
        b"Name: Foo_Bar\nVersion: 1.0\nSummary: does \xff\n  things\nLicense: MIT\n\nName: no\n"
    ),
    "/usr/lib/python3/dist-packages/old.egg-info": b"Name: old\r\nVersion: 0.1\r\nLicense: UNKNOWN\r\n",
    "/srv/node_modules/left-pad/package.json": json.dumps(
        {"name": "left-pad", "version": "1.3.0", "license": "WTFPL"}
    ).encode(),
    "/srv/node_modules/@babel/core/package.json": json.dumps(
        {"name": "@babel/core", "version": "7.0.0", "license": {"type": "MIT"}}
    ).encode(),
    "/srv/node_modules/left-pad/test/package.json": b'{"name": "none of them"}',
    "/srv/package.json": b'{"name": "the program itself"}',
    "/opt/log4j.jar": archive({"META-INF/maven/a/b/pom.properties": POM, "META-INF/MANIFEST.MF": MANIFEST}),
    "/opt/app.war": archive({"META-INF/MANIFEST.MF": MANIFEST}),
    "/opt/classes.jar": archive({"A.class": ""}),
}
PURLS = {
    "pkg:pypi/foo-bar@1.0",
    "pkg:pypi/old@0.1",
    "pkg:npm/left-pad@1.3.0",
    "pkg:npm/%40babel/core@7.0.0",
    "pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1",
    "pkg:maven/org.example/my-app@1.2",
}


def test_packages_of_each_language() -> None:
    packages = found(FILES)
    assert packages.root == "/dev/sda1"
    assert packages.gaps == ()
    assert packages.packages[0] == LanguagePackage(
        kind="pypi",
        name="Foo_Bar",
        version="1.0",
        license="MIT",
        summary="does \ufffd\n  things",
        path="/usr/lib/python3/dist-packages/Foo_Bar-1.0.dist-info/METADATA",
    )
    assert [(one.name, one.license) for one in packages.packages[1:4]] == [
        ("old", ""),
        ("left-pad", "WTFPL"),
        ("core", "MIT"),
    ]


@pytest.mark.parametrize("format", ["cyclonedx", "spdx"])
def test_a_bill_of_materials_has_them(format: Any) -> None:
    guest = replace(NOTHING_FOUND, operating_systems=(replace(DEMO_SYSTEM, root="/dev/sda1"),))
    bill = guestkit.sbom(guest, format=format, languages=[found(FILES)])
    assert bill.complete
    assert bill.packages == len(DEMO_SYSTEM.applications) + len(PURLS)
    text = bill.to_json()
    assert all(f'"{purl}"' in text for purl in PURLS)
    assert "guestkit:path" in text


def test_packages_landed_on_the_wrong_system_or_vanished() -> None:
    both = (replace(DEMO_SYSTEM, root="/dev/sda1"), replace(DEMO_SYSTEM, root="/dev/sdb1"))
    one, two = (replace(NOTHING_FOUND, operating_systems=both[:count]) for count in (1, 2))
    packages, of_distributions = found(FILES), len(DEMO_SYSTEM.applications)
    for guest, systems in ((one, 1), (two, 2)):
        bill = guestkit.sbom(guest, languages=[packages])
        assert bill.packages == systems * of_distributions + len(PURLS)
    assert guestkit.sbom(one, languages=[replace(packages, root="")]).packages == of_distributions + len(
        PURLS
    )
    for guest, root in ((two, ""), (one, "/dev/sdb1"), (NOTHING_FOUND, "/dev/sda1")):
        with pytest.raises(ValueError, match=f"'languages' has packages of the root '{root}', and the guest"):
            guestkit.sbom(guest, languages=[replace(packages, root=root)])
    failed = LanguagePackages(packages=(), gaps=("the appliance crashed",))
    assert guestkit.sbom(two, languages=[failed]).gaps == ("languages: the appliance crashed",)


def test_what_is_hostile_has_no_package_url() -> None:
    packages = found(
        {
            "/a/node_modules/x/package.json": json.dumps({"name": "x\x1b[2J", "version": "1"}).encode(),
            "/b/y.jar": archive({"META-INF/MANIFEST.MF": "Implementation-Title: y\n"}),
        }
    )
    guest = replace(
        NOTHING_FOUND, operating_systems=(replace(DEMO_SYSTEM, root="/dev/sda1", applications=()),)
    )
    document = guestkit.sbom(guest, languages=[packages]).to_dict()
    written = {one["name"]: one for one in document["components"][1:]}
    assert set(written) == {"x\\x1b[2J", "y"}
    assert not any("purl" in one for one in written.values())


BAD = {
    "METADATA without a name": ("/x.dist-info/METADATA", b"Version: 1\n"),
    "no JSON": ("/node_modules/x/package.json", b"{"),
    "a list": ("/node_modules/x/package.json", b"[]"),
    "a number": ("/node_modules/x/package.json", b'{"name": 5}'),
    "deep": ("/node_modules/x/package.json", b"[" * 200_000),
    "too large": ("/node_modules/x/package.json", b" " * (2 << 20)),
    "no archive": ("/x.jar", b"PK"),
    "half an archive": ("/x.jar", FILES["/opt/log4j.jar"][:200]),
    "damaged": ("/x.jar", FILES["/opt/log4j.jar"].replace(b"\x03\x04", b"\x03\x05")),
    "a pom without a name": ("/x.jar", archive({"META-INF/maven/a/b/pom.properties": ""})),
}


@pytest.mark.parametrize(("path", "content"), BAD.values(), ids=BAD)
def test_what_cannot_be_read_is_a_gap(path: str, content: bytes) -> None:
    packages = found({path: content, "/good.egg-info": b"Name: good\nVersion: 1\n"})
    assert [one.name for one in packages.packages] == ["good"]
    (gap,) = packages.gaps
    assert gap.split("!/")[0].split(": ")[0] == path


def test_a_cancel_was_taken_for_a_gap() -> None:
    class Cancelled(Guest):
        def pread(self, path: str, count: int, offset: int) -> bytes:
            raise Error("pread", "cancelled", errno.EINTR)

    guest: Any = Cancelled({"/a.jar": poms(1), "/b.jar": poms(1)})
    with pytest.raises(Error, match="cancelled"):
        find_packages(guest, root="/dev/sda1")


def test_one_package_of_a_jar_that_is_damaged_cost_all_of_them() -> None:
    described = {f"META-INF/maven/g/{name}/pom.properties": pom(name) for name in ("a", "b", "c")}
    packages = found({"/shaded.jar": broken(archive(described))})
    assert [one.name for one in packages.packages] == ["b", "c"]
    (gap,) = packages.gaps
    assert gap.startswith("/shaded.jar!/META-INF/maven/g/a/pom.properties: is not read: Bad CRC-32")


def test_a_fifo_or_a_directory_is_not_read() -> None:
    for kind in ("p", "d", "l"):
        assert found(FILES, kind=kind) == LanguagePackages(root="/dev/sda1", packages=())


def test_reading_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = archive({"META-INF/maven/a/b/pom.properties": POM + "\0" * (16 << 20)})
    (package,) = found({"/bomb.jar": bomb}).packages
    assert package.name == "log4j-core"
    monkeypatch.setattr(languages, "MOST_OF_ARCHIVE", 100)
    (gap,) = found({"/large.jar": FILES["/opt/log4j.jar"]}).gaps
    assert "more than 100 bytes would have to be read" in gap
    monkeypatch.setattr(languages, "MOST_FILES", 2)
    many = found({f"/{number}.egg-info": b"Name: a\n" for number in range(5)})
    assert len(many.packages) == 2
    assert many.gaps == ("Python: only 2 of 5 packages are looked at",)


def test_a_section_about_a_single_entry_named_the_package() -> None:
    section = "Name: javax/servlet/\r\nImplementation-Title: servlet\r\nImplementation-Version: 3.0\r\n"
    for newline in ("\r\n", "\n", "\r"):
        manifest = f"{MANIFEST}\r\n{section}".replace("\r\n", newline)
        (package,) = found({"/a.jar": archive({"META-INF/MANIFEST.MF": manifest})}).packages
        assert (package.name, package.version) == ("my-app", "1.2")


def pom(name: str) -> str:
    return f"groupId=g\nartifactId={name}\nversion=1\n"


def poms(count: int) -> bytes:
    return archive({f"META-INF/maven/g/{n}/pom.properties": pom(f"a{n}") for n in range(count)})


def test_the_hundredth_package_of_a_jar_was_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    all_of_them = found({"/uber.jar": poms(150)})
    assert (len(all_of_them.packages), all_of_them.gaps) == (150, ())
    monkeypatch.setattr(languages, "MOST_POMS", 149)
    cut = found({"/uber.jar": poms(150)})
    assert len(cut.packages) == 149
    assert cut.gaps == ("/uber.jar: only 149 of 150 packages inside are looked at",)


def nested(*levels: str) -> bytes:
    """Return a jar in an archive for each level, which has a package of its own besides."""
    content = poms(1)
    for number, name in enumerate(reversed(levels)):
        files: dict[str, str | bytes] = {
            name: content,
            f"META-INF/maven/g/b{number}/pom.properties": pom(f"b{number}"),
        }
        content = archive(files, zipfile.ZIP_STORED)
    return content


def test_archives_inside_of_archives_were_passed_over_in_silence() -> None:
    guest = {"/app.jar": nested("BOOT-INF/lib/a.jar"), "/big.ear": nested("web.war", "WEB-INF/lib/a.jar")}
    packages = found(guest)
    assert [(one.name, one.path) for one in packages.packages] == [
        ("b0", "/app.jar"),
        ("a0", "/app.jar!/BOOT-INF/lib/a.jar"),
        ("b1", "/big.ear"),
        ("b0", "/big.ear!/web.war"),
        ("a0", "/big.ear!/web.war!/WEB-INF/lib/a.jar"),
    ]
    assert packages.gaps == ()
    deep = found({"/deep.ear": nested("a.war", "b.jar", "c.jar")})
    assert [one.name for one in deep.packages] == ["b2", "b1", "b0"]
    assert deep.gaps == ("/deep.ear!/a.war!/b.jar: the 1 archives inside are too deep to be opened",)
    damaged = found({"/app.jar": archive({"lib/bad.jar": b"PK", "lib/good.jar": poms(1)})})
    assert [one.name for one in damaged.packages] == ["a0"]
    (gap,) = damaged.gaps
    assert gap.startswith("/app.jar!/lib/bad.jar: is not read: ")


USED_UP = "the {} bytes that all may have are used up"


@pytest.mark.parametrize(
    ("limit", "value", "gap"),
    [
        ("LARGEST_INSIDE", 50, "/app.jar!/lib/0.jar: is not read: it has more than 50 bytes"),
        ("MOST_MEMBERS", 1, "/app.jar!/lib/0.jar: is not read: it has more than 1 files"),
        ("MOST_COST", 1, f"/app.jar: 3 archives inside are not opened: {USED_UP.format(1)}"),
        ("MOST_IN_ARCHIVES", 2, "Java: only 2 packages are told"),
    ],
)
def test_archives_inside_are_bounded(
    limit: str, value: int, gap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    jar = archive({f"lib/{number}.jar": poms(2) for number in range(3)})
    assert len(found({"/app.jar": jar}).packages) == 6
    monkeypatch.setattr(languages, limit, value)
    cut = found({"/app.jar": jar})
    assert len(cut.packages) < 6
    assert gap in cut.gaps


def broken(jar: bytes) -> bytes:
    """Return the jar with a wrong checksum for its first file, which is unpacked before that is known."""
    at = jar.index(b"PK\x01\x02") + 16
    return jar[:at] + b"\xff\xff\xff\xff" + jar[at + 4 :]


IN_VAIN = {
    "damaged": broken(archive({"lib/a.jar": bytes(200 << 10)})),
    "without a name": archive({"lib/a.jar": archive({"META-INF/maven/g/a/pom.properties": "x"})}),
}


@pytest.mark.parametrize("inner", IN_VAIN.values(), ids=IN_VAIN)
def test_what_failed_in_an_archive_cost_nothing(inner: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A jar with 999 large descriptions and one without a name could be in a guest 65,536 times."""
    cost = 5 << 16
    monkeypatch.setattr(languages, "MOST_COST", cost)
    packages = found({f"/{number}.jar": inner for number in range(6)} | {"/z.jar": poms(1)})
    assert packages.packages == ()
    assert len(packages.gaps) <= 4
    assert packages.gaps[-1].endswith(f" archives are not opened: {USED_UP.format(cost)}")


def test_long_texts_and_many_gaps_filled_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    long = "1" * 1001
    guest: dict[str, bytes] = {
        "/a.jar": archive({"META-INF/maven/g/a/pom.properties": f"artifactId=a\nversion={long}"}),
        "/b.jar": archive({"META-INF/MANIFEST.MF": f"Bundle-SymbolicName: b\nBundle-License: {long}"}),
        "/c.egg-info": f"Name: {long}\nVersion: 1".encode(),
        "/d.egg-info": f"Name: d\nSummary: {long}".encode(),
        "/node_modules/e/package.json": json.dumps({"name": f"@{long}/e"}).encode(),
    }
    packages = found(guest)
    assert [(one.name, len(one.summary)) for one in packages.packages] == [("d", 1000)]
    assert sorted(re.findall(r"its (\w+) has more than 1000 characters", "".join(packages.gaps))) == [
        *("group", "license", "name", "version")
    ]
    monkeypatch.setattr(languages, "MOST_GAPS", 1)
    jars = {f"/{number}.jar": b"" for number in range(3)}
    assert found(jars).gaps == ("/0.jar: is not read: File is not a zip file", "Java: only 1 gaps are told")


def test_what_was_read_cost_nothing_and_the_gap_named_another_limit() -> None:
    """A sparse jar of 2 TB was read to its end."""
    guest: Any = Guest({"/a.jar": bytes(1 << 20)})
    spent: list[int] = []
    file = languages._InGuest(guest, "/a.jar", spent.append)
    for allowed in (1 << 17, 1 << 18):
        file.allow(allowed)
        with pytest.raises(OSError, match=f"more than {allowed} bytes would have to be read"):
            file.readinto(bytearray(1 << 19))
    assert spent == [1 << 19] * 2


def test_an_archive_inside_that_unpacks_without_end_is_a_gap() -> None:
    bomb = archive({"lib/bomb.jar": bytes(40 << 20), "lib/good.jar": poms(1)})
    packages = found({"/app.jar": bomb})
    assert [one.name for one in packages.packages] == ["a0"]
    assert "it has more than 33554432 bytes" in packages.gaps[0]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=["bzip2", "lzma"])
def test_a_jar_of_a_few_bytes_took_all_memory(method: int) -> None:
    outer = archive({"META-INF/MANIFEST.MF": bytes(8 << 20)}, method)
    guest = {
        "/a.jar": outer,
        "/b.jar": archive({"lib/b.jar": bytes(8 << 20)}, method),
        "/c.jar": archive({"lib/c.jar": outer}),
    }
    assert sum(map(len, guest.values())) < 10_000
    tracemalloc.start()
    try:
        packages = found(guest)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20
    inside = ["/a.jar!/META-INF/MANIFEST.MF", "/b.jar!/lib/b.jar", "/c.jar!/lib/c.jar!/META-INF/MANIFEST.MF"]
    reason = f"is not read: it is not packed as files in a jar are (method {method})"
    assert packages.gaps == tuple(f"{path}: {reason}" for path in inside)


@pytest.mark.parametrize(
    "error",
    [
        ApplianceKilled("pread", "the appliance was killed"),
        CallTimeout("pread", "took longer than 5 s", handle_usable=False),  # an OSError, as zipfile expects
    ],
    ids=["killed", "timeout"],
)
def test_the_end_of_the_appliance_was_taken_for_a_damaged_archive(
    error: Error, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pread(guest: Guest, *arguments: object) -> bytes:
        raise error

    monkeypatch.setattr(Guest, "pread", pread)
    with pytest.raises(type(error)):
        found(FILES)


class Slow(Guest):
    """A guest whose every call takes a second."""

    seconds = 0

    def clock(self) -> float:
        return self.seconds

    def __getattribute__(self, name: str) -> Any:
        if name in ("walk", "read_files", "statns", "pread"):
            self.seconds += 1
        return super().__getattribute__(name)


DESCRIPTIONS = {
    **{f"/{number}.egg-info": b"Name: a\n" for number in range(350)},
    "/node_modules/a/package.json": b'{"name": "a"}',
}
MANY_ARCHIVES = {f"/{number}.jar": FILES["/opt/log4j.jar"] for number in range(20_000)}
OVER = "the time is over (timeout)"


@pytest.mark.parametrize(
    ("timeout", "packages", "gaps"),
    [
        (0, 0, [f"no file is looked at: {OVER}"]),
        (
            3,  # for the walk and two hundred files of Python
            200,
            [
                f"Python: 150 packages are not looked at: {OVER}",
                f"npm: 1 packages are not looked at: {OVER}",
                f"Java: 20000 archives are not read, or in part: {OVER}",
            ],
        ),
    ],
)
def test_the_timeout_for_a_disk_was_one_for_each_of_its_files(
    timeout: float, packages: int, gaps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    guest: Any = Slow(DESCRIPTIONS | MANY_ARCHIVES)
    monkeypatch.setattr(languages, "monotonic", guest.clock)
    cut = find_packages(guest, timeout=timeout)
    assert guest.seconds <= timeout + 1
    assert (len(cut.packages), list(cut.gaps)) == (packages, gaps)


@pytest.mark.parametrize(
    "files",
    [
        MANY_ARCHIVES,
        {
            "/app.ear": archive(
                {f"{one}.jar": bytes(1 << 20) + poms(1) for one in range(100)}, zipfile.ZIP_STORED
            )
        },
    ],
    ids=["many archives", "many in an archive"],
)
def test_archives_were_read_beyond_the_timeout(
    files: Mapping[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    guest: Any = Slow(files)
    monkeypatch.setattr(languages, "monotonic", guest.clock)
    cut = find_packages(guest, timeout=60)
    assert guest.seconds <= 61
    assert cut.packages
    assert re.fullmatch(rf"Java: \d+ archives are not read, or in part: {re.escape(OVER)}", cut.gaps[-1])


# ---- a guest that is still to be opened

SYSTEMS = ("/dev/sda1", "/dev/sda2", "/dev/sda3")
FLASK = LanguagePackage(kind="pypi", name="flask", version="3", path="/flask.dist-info/METADATA")
SEVERAL = replace(NOTHING_FOUND, operating_systems=tuple(replace(DEMO_SYSTEM, root=root) for root in SYSTEMS))


class Machine:
    """What is launched and mounted in place of a guest. Mounting a system takes a second."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, *, fails: Error | None = None, dies: Error | None = None
    ) -> None:
        self.fails = fails  # at the first system
        self.dies = dies  # while it is read
        self.seconds = 0.0
        self.asked: list[tuple[object, Any]] = []
        monkeypatch.setattr(languages, "launched", self.launched)
        monkeypatch.setattr(languages, "_gather", self.gather)
        monkeypatch.setattr("guestkit.guest.mount_guest", self.mount_guest)
        monkeypatch.setattr(languages, "monotonic", lambda: self.seconds)

    @contextlib.contextmanager
    def launched(self, asked: GuestArguments) -> Iterator[None]:
        handle = asked.handle
        self.asked.append((asked.guest, (asked.opening.format, handle.call_timeout, handle.appliance)))
        yield

    def mount_guest(self, g: None, *, root: str, keys: Any, **_: object) -> Mounted:
        self.asked.append((root, keys))
        self.seconds += 1
        if root == SYSTEMS[0] and self.fails is not None:
            raise self.fails
        failure = PartFailure(part="mountpoints", message="/var: is damaged", errno=5, op="mount")
        return Mounted(root=root, mountpoints={}, system=None, failures=(failure,))

    def gather(
        self, g: None, packages: list[LanguagePackage], gaps: list[str], ends: float, room: object
    ) -> None:
        if self.seconds >= ends:
            gaps.append(OVER)
            return
        self.asked.append(("read", ends))
        packages.append(FLASK)
        if self.dies is not None:
            raise self.dies
        gaps.append("/a.jar: is damaged")


GAPS = ("/var: is damaged", "/a.jar: is damaged")


def test_each_system_of_a_guest_is_mounted_and_read(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    key = Key(passphrase="x")
    found = languages.find_in_guest(
        "web.img", SEVERAL, HandleOptions(), keys=iter([key]), format="raw", call_timeout=5
    )
    assert found == tuple(LanguagePackages(root=root, packages=(FLASK,), gaps=GAPS) for root in SYSTEMS)
    assert machine.asked == [
        ("web.img", ("raw", 5, "auto")),
        *(one for root in SYSTEMS for one in ((root, (key,)), ("read", math.inf))),
    ]


def test_the_time_for_a_guest_is_that_of_all_its_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    found = languages.find_in_guest("web.img", SEVERAL, timeout=2)
    assert [(one.root, one.gaps) for one in found] == [
        (SYSTEMS[0], GAPS),
        (SYSTEMS[1], ("/var: is damaged", OVER)),
        (SYSTEMS[2], (OVER,)),  # which is not even mounted
    ]
    assert machine.asked[1:] == [(SYSTEMS[0], ()), ("read", 2.0), (SYSTEMS[1], ())]


def test_what_cannot_be_mounted_is_a_gap_of_that_system(monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(monkeypatch, fails=Error("mount_guest", "/dev/sda1: is damaged", errno.EIO))
    first, *others = languages.find_in_guest("web.img", SEVERAL)
    assert first == LanguagePackages(
        root=SYSTEMS[0], packages=(), gaps=("mount_guest: /dev/sda1: is damaged",)
    )
    assert [one.packages for one in others] == [(FLASK,)] * 2


def test_an_appliance_that_dies_is_a_gap_of_each_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all but the first one it was said that nothing was missing."""
    Machine(monkeypatch, fails=ApplianceKilled("mount_guest", "the appliance was killed", errno.EINTR))
    found = languages.find_in_guest("web.img", SEVERAL)
    gaps = ("mount_guest: the appliance was killed",)
    assert found == tuple(LanguagePackages(root=root, packages=(), gaps=gaps) for root in SYSTEMS)


@pytest.mark.parametrize(
    "error",
    [
        ApplianceKilled("pread", "the appliance was killed"),
        CallTimeout("pread", "took longer than 5 s", handle_usable=False),
    ],
)
def test_what_was_found_was_lost_with_the_part_that_failed(
    error: Error, monkeypatch: pytest.MonkeyPatch
) -> None:
    Machine(monkeypatch, dies=error)
    first, *others = languages.find_in_guest("web.img", SEVERAL)
    assert first == LanguagePackages(
        root=SYSTEMS[0], packages=(FLASK,), gaps=("/var: is damaged", str(error))
    )
    assert others == [LanguagePackages(root=root, packages=(), gaps=(str(error),)) for root in SYSTEMS[1:]]


@pytest.fixture
def mounts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each system of a guest that is launched has FILES; the list gets the roots that are mounted."""
    roots: list[str] = []

    def mount_guest(g: Guest, *, root: str, **_: object) -> Mounted:
        roots.append(root)
        return Mounted(root=root, mountpoints={}, system=None, failures=())

    monkeypatch.setattr(languages, "launched", lambda asked: contextlib.nullcontext(Guest(FILES)))
    monkeypatch.setattr("guestkit.guest.mount_guest", mount_guest)
    return roots


def test_the_packages_of_a_guest_with_many_systems_took_memory_without_bound(
    mounts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As subvolumes that share their files, which cost the guest nothing."""
    whole = languages.find_in_guest("web.img", SEVERAL)[0]
    assert len(whole.packages) == len(PURLS)
    mounts.clear()
    of_one = sum(sys.getsizeof(text) for package in whole.packages for text in astuple(package))
    most = of_one * 4 // 3
    monkeypatch.setattr(languages, "MOST_TEXT", most)
    first, second, third = languages.find_in_guest("web.img", SEVERAL)
    assert first == replace(whole, root=SYSTEMS[0])
    assert 0 < len(second.packages) < len(whole.packages)
    assert second.packages == whole.packages[: len(second.packages)]
    cut = f"only {len(second.packages)} packages are told: those of a guest may take {most} bytes"
    assert second.gaps == (cut,)
    left_out = f"no file is looked at: what the systems before have takes more than {most} bytes"
    assert third == LanguagePackages(root=SYSTEMS[2], packages=(), gaps=(left_out,))
    assert mounts == list(SYSTEMS[:2])


def test_packages_before_an_archive_on_which_the_appliance_died_are_found(
    mounts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def pread(guest: Guest, *arguments: object) -> bytes:
        raise ApplianceKilled("pread", "the appliance was killed")

    monkeypatch.setattr(Guest, "pread", pread)
    one = replace(NOTHING_FOUND, operating_systems=(DEMO_SYSTEM,))
    (found,) = languages.find_in_guest("web.img", one)
    assert {package.kind for package in found.packages} == {"pypi", "npm"}
    assert found.gaps[-1] == "pread: the appliance was killed"


def test_a_disk_that_is_not_there_is_a_gap() -> None:
    gaps = ("open_disk: /nowhere.img: no such file",)
    found = languages.find_in_guest("/nowhere.img", SEVERAL)
    assert found == tuple(LanguagePackages(root=root, packages=(), gaps=gaps) for root in SYSTEMS)
    (found_of_none,) = languages.find_in_guest("/nowhere.img", NOTHING_FOUND)
    assert found_of_none == LanguagePackages(packages=(), gaps=gaps)


@pytest.mark.parametrize("wrong", [{"timeout": -1}, {"readonly": False}, {"form": "raw"}])
def test_a_wrong_argument_for_a_guest_is_no_gap(wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=f"find_in_guest.*{next(iter(wrong))}"):
        languages.find_in_guest("/nowhere.img", SEVERAL, **wrong)


# ---- the command


def test_the_command_tells_why_there_are_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = guestkit.Report(
        disk="/nowhere.img",
        disks=("/nowhere.img",),
        inspection=replace(NOTHING_FOUND, operating_systems=(DEMO_SYSTEM,)),
        languages=(LanguagePackages(packages=(), gaps=("open_disk: /nowhere.img: no such file",)),),
    )
    monkeypatch.setattr(guestkit.cli.guests, "inspect_many", lambda *given, **options: iter_of(report))
    assert main(["sbom", "--languages", "/nowhere.img"]) == 1
    out, err = capsys.readouterr()
    assert "languages: open_disk: /nowhere.img: no such file" in err
    assert json.loads(out)["compositions"][0]["aggregate"] == "incomplete"


def iter_of(report: guestkit.Report) -> Any:
    yield report
