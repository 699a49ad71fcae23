"""Bills of materials, of inspections made by hand: valid, whole or said not to be, and readable by others."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from cyclonedx.schema import SchemaVersion
from lib4sbom.parser import SBOMParser  # type: ignore[import-untyped]
from packageurl import PackageURL

import guestkit
import guestkit.cli.guests
import guestkit.cli.sbom
from guestkit import Error, Inspection, Report, Sbom, _writing
from guestkit._extras import install
from guestkit.cli import main
from guestkit.demo import DEMO_SYSTEM
from guestkit.disks import Guest, names_of
from guestkit.fleet import Failure
from guestkit.inspection import Application, OperatingSystem, PartFailure, UnopenedFilesystem
from guestkit.languages import LanguagePackage, LanguagePackages
from guestkit.sboms import DiskHash, SbomFormat, hash_disks
from guestkit.sboms.files import file_names
from guestkit.sboms.licenses import spdx_expression
from tests.inspections import NOTHING_FOUND

FORMATS: tuple[SbomFormat, ...] = get_args(SbomFormat)
BLANK = replace(DEMO_SYSTEM.applications[0], publisher="", summary="", description="")


def application(name: str, version: str, **more: Any) -> Application:
    return replace(BLANK, name=name, version=version, **{"release": "", "arch": "", **more})


def linux(format: str, *apps: Application, **release: str) -> OperatingSystem:
    return replace(DEMO_SYSTEM, package_format=format, applications=apps, os_release=release)


def found(*systems: OperatingSystem, **more: Any) -> Inspection:
    return replace(NOTHING_FOUND, operating_systems=systems, **more)


DEBIAN = linux(
    "deb",
    application(
        "vim", "9.0.1378", release="2+b1", epoch=2, arch="amd64", publisher="Debian Vim <vim@example.org>",
        source_version="2:9.0.1378-2", source_package="vim", url="https://www.vim.org/",
    ),
    application("libc6", "2.36", release="9+deb12u4", arch="amd64", source_package="glibc"),
    ID="debian", VERSION_ID="12", PRETTY_NAME="Debian GNU/Linux 12 (bookworm)",
    HOME_URL="https://www.debian.org/",
)  # fmt: skip
FEDORA = linux(
    "rpm",
    application(
        "bash", "5.2.32", release="1.fc41", arch="x86_64", license="GPL-3.0-or-later", publisher="Fedora",
        summary="The GNU Bourne Again shell", url="(none)",
    ),
    application("dbus", "1.14", release="4", epoch=1, arch="noarch", license="(GPLv2+ or AFL) and PD"),
    ID="fedora", VERSION_ID="41", CPE_NAME="cpe:/o:fedoraproject:fedora:41",
)  # fmt: skip
RHEL = linux("rpm", application("acl", "2.3", release="1.el9", arch="x86_64"), ID="rhel", VERSION_ID="9.4")
LEAP = linux("rpm", application("acl", "2.3", release="1"), ID="opensuse-leap", VERSION_ID="15.6")
ALPINE = linux(
    "apk",
    application("musl", "1.2.5", release="0", arch="x86_64", license="MIT", source_package="musl"),
    ID="alpine", VERSION_ID="3.20.3",
)  # fmt: skip
ARCH = linux(
    "pacman",
    application("linux", "6.9", release="1", epoch=1, arch="x86_64", license="GPL-2.0-only"),
    ID="arch",
)
WINDOWS = replace(
    DEMO_SYSTEM,
    type="windows",
    distro="windows",
    product_name="Windows Server 2022 Standard",
    package_format="unknown",
    major_version=10,
    minor_version=0,
    os_release={},
    applications=(
        application(
            "{26A24AE4-039D}", "115.0", display_name="Mozilla Firefox", publisher="Mozilla",
            install_path="C:\\Program Files\\Firefox",
        ),
    ),
)  # fmt: skip
SYSTEMS = {"deb": DEBIAN, "rpm": FEDORA, "apk": ALPINE, "pacman": ARCH, "windows": WINDOWS}


def check(bill: Sbom, folder: Path) -> list[dict[str, Any]]:
    """Validate the document by the standard's own means; return the packages as lib4sbom reads them."""
    # Imported here: it takes seconds, which processes that only collect the tests need not spend.
    from cyclonedx.validation.json import JsonStrictValidator
    from spdx_tools.spdx.parser.parse_anything import parse_file
    from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

    ending = {"cyclonedx": "cdx", "spdx": "spdx"}[bill.format]
    path = folder / f"bill.{ending}.json"
    path.write_text(bill.to_json(), encoding="ascii")
    if bill.format == "cyclonedx":
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill.to_json()) is None
    else:
        assert validate_full_spdx_document(parse_file(str(path))) == []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves closing to the garbage collector
        reader = SBOMParser()
        reader.parse_file(str(path))
        packages: list[dict[str, Any]] = reader.get_packages()
    return packages


def components(bill: Sbom, kind: str = "library") -> list[dict[str, Any]]:
    return [one for one in bill.document["components"] if one["type"] == kind]


def properties(component: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["value"] for one in component.get("properties", ())}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kind", SYSTEMS)
def test_a_bill_is_valid_and_others_can_read_it(kind: str, format: SbomFormat, tmp_path: Path) -> None:
    system = SYSTEMS[kind]
    bill = guestkit.sbom(found(system), format=format, name="web.qcow2")
    assert (bill.complete, bill.packages) == (True, len(system.applications))
    read = {one["name"]: one for one in check(bill, tmp_path)}
    for app in system.applications:
        seen = read[app.display_name or app.name]
        assert app.version in seen["version"]
        purls = [reference[2] for reference in seen["externalreference"] if reference[1] == "purl"]
        assert PackageURL.from_string(purls[0]).name == (app.display_name or app.name)


@pytest.mark.parametrize(
    ("system", "urls"),
    [
        (
            DEBIAN,
            [
                "pkg:deb/debian/libc6@2.36-9%2Bdeb12u4?arch=amd64&distro=debian-12&upstream=glibc",
                "pkg:deb/debian/vim@2:9.0.1378-2%2Bb1?arch=amd64&distro=debian-12&upstream=vim%402:9.0.1378-2",
            ],
        ),
        (
            FEDORA,
            [
                "pkg:rpm/fedora/bash@5.2.32-1.fc41?arch=x86_64&distro=fedora-41",
                "pkg:rpm/fedora/dbus@1.14-4?arch=noarch&distro=fedora-41&epoch=1",
            ],
        ),
        (RHEL, ["pkg:rpm/redhat/acl@2.3-1.el9?arch=x86_64&distro=rhel-9.4"]),
        (LEAP, ["pkg:rpm/opensuse/acl@2.3-1?distro=opensuse-leap-15.6"]),
        (ALPINE, ["pkg:apk/alpine/musl@1.2.5-r0?arch=x86_64&distro=alpine-3.20.3"]),
        (ARCH, ["pkg:alpm/arch/linux@1:6.9-1?arch=x86_64&distro=arch"]),
        (WINDOWS, ["pkg:generic/Mozilla%20Firefox@115.0"]),
    ],
    ids=["deb", "rpm", "redhat", "opensuse", "apk", "alpm", "windows"],
)
def test_package_urls_are_those_of_the_specification(system: OperatingSystem, urls: list[str]) -> None:
    bill = guestkit.sbom(found(system))
    assert sorted(one["purl"] for one in bill.document["components"] if "purl" in one) == urls


def test_the_operating_system_is_a_component_that_has_the_packages() -> None:
    bill = guestkit.sbom(found(DEBIAN), name="web.qcow2")
    (system,) = components(bill, "operating-system")
    assert (system["name"], system["version"]) == ("debian", "12")
    assert system["description"] == "Debian GNU/Linux 12 (bookworm)"
    guest = bill.document["metadata"]["component"]
    assert (guest["name"], guest["type"]) == ("web.qcow2", "container")
    depends = {one["ref"]: one.get("dependsOn", []) for one in bill.document["dependencies"]}
    assert depends[guest["bom-ref"]] == [system["bom-ref"]]
    assert depends[system["bom-ref"]] == sorted(one["bom-ref"] for one in components(bill))


def test_a_windows_has_its_name_and_programs_have_their_publisher() -> None:
    bill = guestkit.sbom(found(WINDOWS))
    (system,) = components(bill, "operating-system")
    assert (system["name"], system["version"]) == ("windows", "10.0")
    assert system["description"] == "Windows Server 2022 Standard"
    (program,) = components(bill, "application")
    assert (program["name"], program["publisher"]) == ("Mozilla Firefox", "Mozilla")
    assert properties(program)["guestkit:registryKey"] == "{26A24AE4-039D}"
    assert properties(program)["guestkit:installPath"] == "C:\\Program Files\\Firefox"


def test_licences_are_expressions_where_spdx_knows_them() -> None:
    bash, dbus = components(guestkit.sbom(found(FEDORA)))
    assert bash["licenses"] == [{"license": {"acknowledgement": "declared", "id": "GPL-3.0-or-later"}}]
    assert dbus["licenses"] == [
        {"license": {"acknowledgement": "declared", "name": "(GPLv2+ or AFL) and PD"}}
    ]
    document = guestkit.sbom(found(FEDORA), format="spdx").document
    declared = {one["name"]: one["licenseDeclared"] for one in document["packages"]}
    assert (declared["bash"], declared["dbus"]) == ("GPL-3.0-or-later", "LicenseRef-1")
    (other,) = document["hasExtractedLicensingInfos"]
    assert (other["licenseId"], other["extractedText"]) == ("LicenseRef-1", "(GPLv2+ or AFL) and PD")


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("MIT", "MIT"),
        ("apache-2.0 or mit", "Apache-2.0 OR MIT"),
        ("LGPL-2.1+ AND (MIT OR GPL-2.0)", "LGPL-2.1-or-later AND (MIT OR GPL-2.0-only)"),
        ("GPL-2.0-only WITH Classpath-exception-2.0", "GPL-2.0-only WITH Classpath-exception-2.0"),
        ("GPL", ""),  # of no version
        ("GPLv2+", ""),
        ("MIT AND", ""),
        ("GPL-2.0+ AND", ""),
        (") AND (MIT", ""),
        ("MIT WITH MIT", ""),
        ("LicenseRef-scancode-public-domain", ""),
        ("(" * 400, ""),
        (" ", ""),
    ],
)
def test_a_licence_is_taken_literally_or_by_its_name(text: str, expression: str) -> None:
    assert spdx_expression(text) == expression


def test_source_package_publisher_and_website_are_there() -> None:
    vim, libc6 = components(guestkit.sbom(found(DEBIAN)))
    assert properties(libc6)["guestkit:sourcePackage"] == "glibc"
    assert properties(vim)["guestkit:sourceVersion"] == "2:9.0.1378-2"
    assert vim["publisher"] == "Debian Vim <vim@example.org>"
    assert vim["externalReferences"] == [{"type": "website", "url": "https://www.vim.org/"}]
    packages = {one["name"]: one for one in guestkit.sbom(found(DEBIAN), format="spdx").document["packages"]}
    assert packages["vim"]["supplier"] == "Organization: Debian Vim (vim@example.org)"
    assert packages["libc6"]["supplier"] == "NOASSERTION"


# What is not all there.

APPLICATIONS = PartFailure(part="applications", message="the database is a FIFO", op="", errno=0)
SHUT = UnopenedFilesystem(device="/dev/sda2", type="ntfs", uuid="", reason="encrypted", message="needs a key")
INCOMPLETE = {
    "no system": (found(), "no operating system was found"),
    "packages": (
        found(replace(DEBIAN, applications_complete=False, failures=(APPLICATIONS,))),
        "applications: the database is a FIFO",
    ),
    "not asked": (found(replace(DEBIAN, applications_complete=False)), "applications: they are not listed"),
    "disks": (
        found(DEBIAN, failures=(replace(APPLICATIONS, part="filesystems"),)),
        "filesystems: the database is a FIFO",
    ),
    "key": (found(DEBIAN, unopened=(SHUT,)), "/dev/sda2 was not opened: needs a key"),
    "noise": (
        found(DEBIAN, unopened=(replace(SHUT, reason="unknown", message="no filesystem that blkid knows"),)),
        "/dev/sda2 was not opened: no filesystem that blkid knows",
    ),
    "one of two": (
        found(DEBIAN, replace(FEDORA, root="/dev/sdb1", applications_complete=False)),
        "the system on /dev/sdb1: applications: they are not listed",
    ),
}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("case", INCOMPLETE)
def test_a_bill_that_may_lack_something_says_so(case: str, format: SbomFormat, tmp_path: Path) -> None:
    inspection, gap = INCOMPLETE[case]
    bill = guestkit.sbom(inspection, format=format)
    assert not bill.complete
    assert len(bill.gaps) == 1
    assert bill.gaps[0].startswith(gap)
    check(bill, tmp_path)
    document = bill.document
    if format == "cyclonedx":
        said = properties(document["metadata"])
        assert said["guestkit:complete"] == "false"
        assert said["guestkit:gap"].startswith(gap)
        whole = {one["assemblies"][0]: one["aggregate"] for one in document["compositions"]}
        # Packages depend on their system: whether these are all was said of what lies in it alone.
        assert all(one["dependencies"] == one["assemblies"] for one in document["compositions"])
        assert whole["guest"] == "incomplete"
        assert whole.get("os-1", "complete") == (
            "incomplete" if case in ("packages", "not asked") else "complete"
        )
    else:
        assert "guestkit:complete: false" in document["comment"]
        unknown = [one for one in document["relationships"] if one["relatedSpdxElement"] == "NOASSERTION"]
        assert "SPDXRef-Guest" in [one["spdxElementId"] for one in unknown]


@pytest.mark.parametrize(
    ("root", "unsure"),
    [("/dev/sdb1", ["os-2"]), ("", ["os-1", "os-2"])],  # "": the launch failed
)
def test_a_system_with_gaps_in_its_languages_was_called_complete(root: str, unsure: list[str]) -> None:
    guest = found(replace(DEBIAN, root="/dev/sda1"), replace(FEDORA, root="/dev/sdb1"))
    gap = LanguagePackages(root=root, packages=(), gaps=("/a.jar: is not read",))
    document = guestkit.sbom(guest, languages=[gap]).document
    incomplete = [one for one in document["compositions"] if one["aggregate"] == "incomplete"]
    assert [one["assemblies"] for one in incomplete] == [["guest"], *([one] for one in unsure)]
    # What is told beside the system said otherwise.
    known = {one["bom-ref"]: properties(one) for one in document["components"] if "properties" in one}
    doubted = [ref for ref, said in known.items() if said.get("guestkit:packagesComplete") == "false"]
    assert doubted == unsure
    relations = guestkit.sbom(guest, format="spdx", languages=[gap]).document["relationships"]
    unknown = [one["spdxElementId"] for one in relations if one["relatedSpdxElement"] == "NOASSERTION"]
    assert len(unknown) == 1 + len(unsure)


def test_a_whole_bill_says_that() -> None:
    document = guestkit.sbom(found(DEBIAN)).document
    assert properties(document["metadata"]) == {"guestkit:complete": "true"}
    assert {one["aggregate"] for one in document["compositions"]} == {"complete"}
    assert "NOASSERTION" not in [
        one["relatedSpdxElement"]
        for one in guestkit.sbom(found(DEBIAN), format="spdx").document["relationships"]
    ]


# What a guest can say.

EVIL = [
    "\x1b]0;owned\x07",
    "a\x00b\r\n\tc",
    "quotes \"'<&>\\u0000\\",
    "\udcff\udc80",
    "\ud800",
    "\ufffe\U0010ffff\u202e",
    "",
    " ",
    "/../..",
    "?#@%2f:%",
    "x" * 3_000_000,
    "(" * 50_000,
    "ü日本🎉",
    "(none)",
]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kind", SYSTEMS)
def test_hostile_text_makes_no_invalid_document(kind: str, format: SbomFormat, tmp_path: Path) -> None:
    systems = [hostile(SYSTEMS[kind], text) for text in EVIL]
    shut = [replace(SHUT, device=text, message=text) for text in EVIL]
    bill = guestkit.sbom(found(*systems, unopened=shut), format=format, name="\x1b\udcff")
    assert bill.packages == 2 * len(EVIL)
    assert len(bill.to_json()) < 300_000
    json.dumps(bill.document, ensure_ascii=False).encode()  # there are no lone surrogates
    check(bill, tmp_path)


@pytest.mark.parametrize("format", FORMATS)
def test_a_publisher_of_colons_ended_the_bill(format: SbomFormat, tmp_path: Path) -> None:
    """Regression: a RecursionError, of what reads addresses in Python."""
    bill = guestkit.sbom(found(linux("rpm", application("a", "1", publisher=":" * 1000))), format=format)
    assert ":" * 1000 in bill.to_json()
    check(bill, tmp_path)


def hostile(base: OperatingSystem, text: str) -> OperatingSystem:
    """Return a system that says this text everywhere."""
    app = Application(
        name=text, display_name=text, epoch=-1, version=text, release=text, arch=text, install_path=text,
        publisher=text, url=text, source_package=text, summary=text, description=text, license=text,
        source_version=text,
    )  # fmt: skip
    release = dict.fromkeys(("ID", "VERSION_ID", "PRETTY_NAME", "NAME", "HOME_URL", "CPE_NAME"), text)
    failure = PartFailure(part=text, message=text, op=text, errno=0)
    return replace(
        base, root=text, arch=text, product_name=text, applications=(app, app), os_release=release,
        failures=(failure,),
    )  # fmt: skip


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", ["/", " ", "/vim", "vim/doc"])
def test_a_package_named_by_a_slash_ended_the_bill_or_was_another(
    name: str, format: SbomFormat, tmp_path: Path
) -> None:
    of_languages = [
        LanguagePackage(kind="pypi", name=name, version="1", path="/x.dist-info/METADATA"),
        LanguagePackage(kind="npm", group="@x", name=name, version="1", path="/node_modules/@x/package.json"),
        LanguagePackage(kind="npm", group=name, name="x", version="1", path="/node_modules/x/package.json"),
        LanguagePackage(kind="maven", group="org.x", name=name, version="1", path="/x.jar"),
    ]
    systems = [replace(base, applications=(application(name, "1"),)) for base in SYSTEMS.values()]
    languages = LanguagePackages(packages=of_languages)
    for system in systems:
        bill = guestkit.sbom(found(system), format=format, name="web", languages=[languages])
        assert bill.packages == 5
        assert '"pkg:' not in bill.to_json()
    check(bill, tmp_path)


@pytest.mark.parametrize("format", FORMATS)
def test_many_different_licences_do_not_hold_a_bill(
    format: SbomFormat, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each was parsed: 100,000 took 20 minutes and more."""
    parsed: list[str] = []

    def count(text: str) -> str:
        parsed.append(text)
        return spdx_expression(text)

    monkeypatch.setattr("guestkit.sboms.licenses.MOST", 2)
    monkeypatch.setattr("guestkit.sboms.licenses.spdx_expression", count)
    texts = ["MIT", "Zlib", "MIT", "ISC", "0BSD", "ISC", "Zlib"]
    apps = [application(f"a{number}", "1", license=text) for number, text in enumerate(texts)]
    bill = guestkit.sbom(found(linux("rpm", *apps, ID="fedora")), format=format)
    assert parsed == ["MIT", "Zlib"]
    check(bill, tmp_path)
    assert '"Zlib"' in bill.to_json()
    if format == "spdx":
        others = [one["extractedText"] for one in bill.document["hasExtractedLicensingInfos"]]
        assert others == ["ISC", "0BSD"]
    else:
        named = [one["licenses"][0]["license"] for one in components(bill)]
        assert [one.get("id") or one["name"] for one in named] == texts
        assert ["id" in one for one in named] == [True, True, True, False, False, False, True]


def test_what_is_altered_is_named() -> None:
    odd = application("a\x1b", "1" * 2000, url="javascript:alert(1)", arch="x\udcff")
    bill = guestkit.sbom(found(linux("deb", odd, ID="debian")))
    (component,) = components(bill)
    assert component["name"] == "a\\x1b"
    assert component["version"] == "1" * 999 + "…"
    assert "purl" not in component
    assert "externalReferences" not in component
    said = properties(component)
    assert said["guestkit:escapedOrCut"] == "name,version,arch"
    assert said["guestkit:leftOut"] == "url,purl"


def test_what_is_left_out_of_a_system_is_named() -> None:
    """It was of packages alone."""
    bill = guestkit.sbom(found(linux("deb", ID="debian", HOME_URL="javascript:alert(1)", CPE_NAME="cpe:x")))
    (system,) = components(bill, "operating-system")
    assert "cpe" not in system
    assert "externalReferences" not in system
    assert properties(system)["guestkit:leftOut"] == "url,cpe"


def test_the_same_package_twice_is_two_components(tmp_path: Path) -> None:
    twice = replace(DEBIAN, applications=[DEBIAN.applications[0]] * 3)
    for kind in FORMATS:
        bill = guestkit.sbom(found(twice, twice), format=kind)
        assert bill.packages == 6
        check(bill, tmp_path)
    references = [one["bom-ref"] for one in components(guestkit.sbom(found(twice, twice)))]
    assert len(set(references)) == 6


def test_a_guest_cannot_choose_the_reference_of_another_component(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """References were made of names and versions: the second one's was that of the last one."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    apps = [application("x\x01", "1")] * 2
    near = found(linux("deb", *apps, application("x\x01", "1#2"), ID="debian"))
    others = [application(f"other{n}", "1") for n in range(150)]
    far = found(linux("deb", *apps, *others, application("x\x01", "1#2"), ID="debian"))
    for inspection in (near, far):
        bill = guestkit.sbom(inspection)
        check(bill, tmp_path)
        assert len({one["bom-ref"] for one in components(bill)}) == bill.packages
        assert bill.to_json() == guestkit.sbom(inspection).to_json()


# The same bytes.


@pytest.mark.parametrize("format", FORMATS)
def test_bills_are_reproducible_where_that_is_asked_for(
    format: SbomFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert (
        guestkit.sbom(found(DEBIAN), format=format).to_json()
        != guestkit.sbom(found(DEBIAN), format=format).to_json()
    )
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    bill = guestkit.sbom(found(DEBIAN), format=format).to_json()
    assert bill == guestkit.sbom(found(DEBIAN), format=format).to_json()
    assert "2023-11-14T22:13:20" in bill
    serial = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
    seen, other = (
        serial.search(text) for text in (bill, guestkit.sbom(found(FEDORA), format=format).to_json())
    )
    assert seen is not None
    assert other is not None
    assert seen[0] != other[0]


@pytest.mark.parametrize("stated", ["yesterday", "1e9", "9" * 30])
def test_a_date_that_is_none_is_refused(stated: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", stated)
    with pytest.raises(Error, match="SOURCE_DATE_EPOCH must be a number of seconds since 1970"):
        guestkit.sbom(found(DEBIAN))


def test_without_the_libraries_the_error_says_what_to_install() -> None:
    program = """
import sys
sys.modules["packageurl"] = None
import guestkit
from tests.inspections import NOTHING_FOUND
try:
    guestkit.sbom(NOTHING_FOUND)
except guestkit.Error as error:
    print(error)
"""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout == (f"sbom: packageurl, which an SBOM needs, is not installed; {install('sbom')}\n")


def test_a_wrong_format_is_named() -> None:
    with pytest.raises(ValueError, match='must be "cyclonedx" or "spdx", not \'xml\''):
        guestkit.sbom(NOTHING_FOUND, format="xml")  # type: ignore[arg-type]


# Hashes.


def test_a_disk_is_hashed_and_what_is_none_has_the_reason(tmp_path: Path) -> None:
    disk, fifo = tmp_path / "web.img", tmp_path / "fifo"
    disk.write_bytes(os.urandom(3_000_001))
    os.mkfifo(fifo)
    seen: list[int] = []
    whole, pipe, missing = hash_disks([disk, fifo, tmp_path / "none"], seen.append)
    assert whole == DiskHash(name="web.img", sha256=hashlib.sha256(disk.read_bytes()).hexdigest())
    assert seen[-1] == 3_000_001
    assert pipe.failure == "neither a file nor a block device"
    assert missing.failure == "No such file or directory"


@pytest.mark.parametrize("one", ["web.img", b"web.img", Path("web.img")])
def test_the_letters_of_one_disk_were_hashed(one: Any) -> None:
    with pytest.raises(TypeError, match="takes a sequence of disks"):
        hash_disks(one)


@pytest.mark.parametrize("format", FORMATS)
def test_hashes_are_in_the_bill(format: SbomFormat, tmp_path: Path) -> None:
    hashes = [DiskHash(name=f"{name}.img", sha256=name * 64) for name in "ab"]
    bill = guestkit.sbom(found(DEBIAN), format=format, hashes=hashes)
    assert bill.complete
    check(bill, tmp_path)
    for name in "ab":
        assert f'"{name * 64}"' in bill.to_json()
    unread = DiskHash(name="c.img", sha256="", failure="Input/output error")
    lacking = guestkit.sbom(found(DEBIAN), format=format, hashes=[*hashes, unread])
    assert lacking.gaps == ("c.img has no hash: Input/output error",)
    check(lacking, tmp_path)


# The command.

Serve = Callable[..., list[dict[str, Any]]]
GOOD = found(DEBIAN)
BAD = Failure(kind="Error", message="bad.img: is empty", errno=22, op="probe")


def report(disk: str, inspection: Inspection | None = GOOD, error: Failure | None = None) -> Report:
    return Report(disk=disk, disks=(disk,), inspection=inspection, error=error)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Serve:
    """Feed the command these reports, the last one first, in an empty directory; return what it asked for."""
    monkeypatch.chdir(tmp_path)

    def serve(*reports: Report) -> list[dict[str, Any]]:
        asked: list[dict[str, Any]] = []

        def inspect_many(guests: Iterable[Guest], **options: Any) -> Iterator[Report]:
            asked.append(options)
            assert [names_of(guest) for guest in guests] == [tuple(report.disks) for report in reports]
            yield from (replace(report, index=index) for index, report in reversed(list(enumerate(reports))))

        monkeypatch.setattr(guestkit.cli.guests, "inspect_many", inspect_many)
        return asked

    return serve


def test_one_bill_goes_to_stdout(serve: Serve, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    serve(report("web.img"))
    assert main(["sbom", "web.img"]) == 0
    out, err = capsys.readouterr()
    assert (json.loads(out)["bomFormat"], err) == ("CycloneDX", "")
    assert main(["sbom", "--to", "spdx", "-o", "web.json", "web.img"]) == 0
    assert json.loads((tmp_path / "web.json").read_text())["spdxVersion"] == "SPDX-2.3"
    assert capsys.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == [tmp_path / "web.json"]


def test_an_incomplete_bill_is_written_and_told_with_status_1(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(report("web.img", INCOMPLETE["packages"][0]))
    assert main(["sbom", "web.img"]) == 1
    out, err = capsys.readouterr()
    assert properties(json.loads(out)["metadata"])["guestkit:complete"] == "false"
    assert err == (
        "guestkit: error: web.img: the bill of materials may be incomplete:"
        " applications: the database is a FIFO\n"
    )


def test_a_guest_chose_how_many_gaps_of_its_bill_were_told(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    """Regression: there was a line for each, up to 50,000. The bill has them all."""
    gaps = tuple(f"/{number}.jar: is not read" for number in range(150))
    serve(replace(report("web.img"), languages=[LanguagePackages(packages=(), gaps=gaps)]))
    assert main(["sbom", "--languages", "web.img"]) == 1
    out, err = capsys.readouterr()
    assert out.count(".jar: is not read") == 150
    lines = err.splitlines()
    assert lines[0].endswith("the bill of materials may be incomplete: languages: /0.jar: is not read")
    assert lines[100:] == ["guestkit: error: web.img: the bill of materials tells 50 more gaps"]


def test_a_disk_that_fails_costs_its_own_bill(
    serve: Serve, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    serve(report("bad.img", None, BAD), report("a/web.img"), report("b/web.img"))
    assert main(["sbom", "-o", "bills/", "bad.img", "a/web.img", "b/web.img"]) == 1
    assert capsys.readouterr() == ("", "guestkit: error: bad.img: is empty\n")
    written = sorted(path.name for path in (tmp_path / "bills").iterdir())
    assert written == ["web.img-2.cdx.json", "web.img.cdx.json"]


def test_a_system_that_fails_costs_the_languages_of_no_other(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the gap did not tell whose it is."""
    flask = LanguagePackage(kind="pypi", name="flask", version="3", path="/flask.dist-info")
    languages = (
        LanguagePackages(root="/dev/sda1", packages=(), gaps=("mount_guest: /dev/sda1: is damaged",)),
        LanguagePackages(root="/dev/sda2", packages=[flask]),
    )
    of_two = found(*(replace(DEMO_SYSTEM, root=f"/dev/sda{n}") for n in (1, 2)))
    asked = serve(replace(report("web.img", of_two), languages=languages))
    assert main(["sbom", "--languages", "--timeout", "60", "web.img"]) == 1
    assert [(options["languages"], options["timeout"]) for options in asked] == [(True, 60)]
    out, err = capsys.readouterr()
    assert "pkg:pypi/flask@3" in out
    assert err == (
        "guestkit: error: web.img: the bill of materials may be incomplete:"
        " the system on /dev/sda1: languages: mount_guest: /dev/sda1: is damaged\n"
    )


def test_the_disks_of_one_guest_have_one_bill(
    serve: Serve, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in "ab":
        (tmp_path / name).write_text(name)
    serve(Report(disk="a", disks=("a", "b"), inspection=GOOD))
    assert main(["sbom", "--one-guest", "--hashes", "a", "b"]) == 0
    document = json.loads(capsys.readouterr().out)
    disks = document["metadata"]["component"]["components"]
    assert [(one["name"], one["type"]) for one in disks] == [("a", "file"), ("b", "file")]
    assert [one["hashes"][0]["content"] for one in disks] == [
        hashlib.sha256(name).hexdigest() for name in (b"a", b"b")
    ]


def test_the_remedy_names_the_option_of_this_command(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    unstated = Failure(
        kind="Error", message="x: unclear", errno=22, op="open_disk", cause="format_unstated", hint="state it"
    )
    serve(report("x", None, unstated))
    assert main(["sbom", "x"]) == 1
    assert (
        capsys.readouterr().err
        == "guestkit: error: x: unclear; state with --format what it is, not what its header says\n"
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["a", "b"], "several guests need a directory: -o DIRECTORY/"),
        (["-o", "file", "a", "b"], "several guests need a directory, and 'file' is none"),
        (["-o", "x.json", "a", "b"], "and 'x.json' is not there: one that ends in / is made"),
        (["-o", "missing/x.json", "a"], "there is no directory for the output 'missing/x.json'"),
        (["-o", "file/x.json", "a"], "there is no directory for the output 'file/x.json'"),
        (["-o", "file", "file"], "the output 'file' is the disk 'file'"),
        (["--to", "qcow2", "a"], "invalid choice: 'qcow2'"),
    ],
)
def test_wrong_usage(serve: Serve, capsys: pytest.CaptureFixture[str], words: list[str], told: str) -> None:
    serve()
    Path("file").write_text("a disk")
    with pytest.raises(SystemExit) as ended:
        main(["sbom", *words])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err
    assert Path("file").read_text() == "a disk"
    assert os.listdir() == ["file"]


def test_a_file_that_cannot_be_written_is_named(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    serve(report("web.img"))
    name = "x" * 300
    assert main(["sbom", "-o", name, "web.img"]) == 1
    assert f"{name}: File name too long" in capsys.readouterr().err


def test_an_output_that_is_no_file_is_written_to_and_not_replaced(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "real.json").touch()
    (tmp_path / "link.json").symlink_to("real.json")
    serve(report("web.img"))
    assert main(["sbom", "-o", "link.json", "web.img"]) == 0
    assert (tmp_path / "link.json").is_symlink()
    assert json.loads((tmp_path / "real.json").read_text())["bomFormat"] == "CycloneDX"


def test_a_bill_of_one_user_was_open_to_others(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "bill.json").touch(0o600)
    serve(report("web.img"))
    assert main(["sbom", "-o", "bill.json", "web.img"]) == 0
    assert (tmp_path / "bill.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("link", ["link.json", "link-to-link.json"])
def test_a_bill_that_fails_halfway_was_lost_with_the_old_one_behind_a_link(
    link: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "bill.json").write_text("old")
    (tmp_path / "link.json").symlink_to("kept/bill.json")
    (tmp_path / "link-to-link.json").symlink_to(tmp_path / "link.json")
    with pytest.raises(UnicodeEncodeError):
        _writing.write("new \udcff", str(tmp_path / link), through=True)
    assert (tmp_path / "kept" / "bill.json").read_text() == "old"
    assert os.listdir(tmp_path / "kept") == ["bill.json"]
    _writing.write("new", str(tmp_path / link), through=True)
    assert (tmp_path / "kept" / "bill.json").read_text() == "new"
    assert (tmp_path / link).is_symlink()


def test_an_open_file_is_written_into_though_it_has_a_name(tmp_path: Path) -> None:
    """A new file of that name would not be the one to which a shell appends."""
    command = (
        "from guestkit._writing import write; print('before', flush=True);"
        " write('bill\\n', '/dev/stdout', through=True)"
    )
    with open(tmp_path / "all", "wb") as file:
        kept = os.fstat(file.fileno()).st_ino
        subprocess.run([sys.executable, "-c", command], stdout=file, check=True)
    assert (tmp_path / "all").stat().st_ino == kept
    assert "bill\n" in (tmp_path / "all").read_text()


def test_in_a_directory_a_link_is_replaced(serve: Serve, tmp_path: Path) -> None:
    """Who else may write there could have it lead anywhere."""
    (tmp_path / "bills").mkdir()
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "bills" / "web.img.cdx.json").symlink_to(tmp_path / "precious")
    serve(report("web.img"))
    assert main(["sbom", "-o", "bills", "web.img"]) == 0
    assert (tmp_path / "precious").read_text() == "precious"
    written = tmp_path / "bills" / "web.img.cdx.json"
    assert not written.is_symlink()
    (tmp_path / "new").touch()
    assert written.stat().st_mode == (tmp_path / "new").stat().st_mode


@pytest.mark.parametrize(
    ("output", "denied", "refused"),
    [
        ("kept/bill.json", "kept", "kept"),  # it is there, but a new file takes its place
        ("kept/new.json", "kept", "kept"),
        ("link", "kept", "kept"),  # what it leads to is replaced
        ("link", "kept/bill.json", ""),
        ("dangling", "kept", "kept"),
        ("/dev/null", "/dev", ""),
        ("bills", "bills", "bills"),
        ("web.json", ".", "."),
    ],
)
def test_an_output_that_cannot_be_written_was_found_out_after_the_work(
    output: str,
    denied: str,
    refused: str,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    for directory in ("kept", "bills"):
        (tmp_path / directory).mkdir()
    (tmp_path / "kept" / "bill.json").write_text("old")
    (tmp_path / "bills" / "web.img.cdx.json").symlink_to(tmp_path / "kept" / "bill.json")
    (tmp_path / "link").symlink_to("kept/bill.json")
    (tmp_path / "dangling").symlink_to("kept/none")
    # Root, as whom the tests may run, may write everywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: os.path.realpath(path) != os.path.realpath(denied))
    serve(report("web.img"))
    if not refused:
        assert main(["sbom", "-o", output, "web.img"]) == 0
        return
    with pytest.raises(SystemExit, match="2"):
        main(["sbom", "-o", output, "web.img"])
    assert f"you may not write to {refused!r}, as the output '{output}" in capsys.readouterr().err


def test_a_pipe_at_stdout_was_refused_to_all_but_root() -> None:
    source = Path(_writing.__file__).read_text(encoding="utf-8")
    source = source.replace("from guestkit._aside import new_file\n", "")  # nobody may not import it
    command = f"{source}\nprint(repr(obstacle('/dev/stdout', through=True)))"
    words = ["sh", "-c", '"$0" -c "$1" | cat', os.path.realpath(sys.executable), command]
    nobody = 65534 if os.getuid() == 0 else None
    done = subprocess.run(words, user=nobody, cwd="/", capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("''\n", "")


def test_a_wrong_date_is_told_before_the_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    monkeypatch.setattr(guestkit.cli.guests, "inspect_many", None)
    assert main(["sbom", "web.img"]) == 1
    told = "guestkit: error: SOURCE_DATE_EPOCH must be a number of seconds since 1970, not 'yesterday'\n"
    assert capsys.readouterr() == ("", told)


def test_hashes_are_of_the_disks_that_were_given(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    serve(report("web.img"))
    Path("web.img").write_bytes(b"disk")
    assert main(["sbom", "--hashes", "web.img"]) == 0
    assert hashlib.sha256(b"disk").hexdigest() in capsys.readouterr().out


@pytest.mark.parametrize("path", ["", "/", "/web.img"])
def test_a_disk_at_a_url_with_a_password_left_no_gap_for_its_hash(
    path: str, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(report(f"https://host{path}"))
    assert main(["sbom", "--hashes", f"https://me:secret@host{path}"]) == 1
    out, err = capsys.readouterr()
    assert "has no hash: No such file or directory" in err
    assert json.loads(out)["compositions"][0]["aggregate"] == "incomplete"
    assert "secret" not in out + err


@pytest.mark.parametrize(
    ("disks", "names"),
    [
        (["/a/web.img", "/b/web.img", "web.img-2"], ["web.img", "web.img-2", "web.img-2-2"]),
        (["..", "/", "-o", ".hidden"], ["_.", "disk", "_o", "_hidden"]),
        (["a\nb \x1b\udcff;$(x)"], ["a_b______x_"]),
        (["nbd+unix:///?socket=/tmp/s k"], ["s_k"]),
        (["ü" * 200], ["ü" * 100]),
    ],
)
def test_names_of_files_are_safe_and_different(disks: list[str], names: list[str]) -> None:
    assert file_names(disks, "cyclonedx") == [f"{name}.cdx.json" for name in names]
