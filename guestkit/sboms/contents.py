"""What a bill of materials says, whatever its format: in texts that every format can express."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from guestkit._text import printable
from guestkit._versions import epoch_and_version, full_version, known, shown_name
from guestkit.generated.values import Application, Inspection, OperatingSystem
from guestkit.inspection import pretty_name
from guestkit.languages import LanguagePackage, LanguagePackages
from guestkit.sboms.hashes import DiskHash
from guestkit.sboms.purls import Distribution, distribution_of, purl_of, purl_of_language

#: How many characters of one text of the guest's are kept; CycloneDX permits 1024 of a version.
LONGEST = 1000

#: What is written before the names of properties.
PREFIX = "guestkit:"

#: URLs that every reader of either format accepts; the standards permit more.
_URL = re.compile(
    r"(https?|ftp)://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?"
    r"(/([A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*)?(#[A-Za-z0-9._~-]*)?"
)
_CPE = re.compile(
    r"cpe:(/[aho](:[A-Za-z0-9._~%-]*){0,6}|2\.3:[aho](:([A-Za-z0-9._*?-]|\\[!-/:-@\[-`{-~])+){10})"
)

#: A property: its name without the prefix, and its value.
Note = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A package or a program. A text is "" where it is unknown."""

    name: str
    version: str
    summary: str
    publisher: str
    license: str
    url: str
    purl: str
    is_program: bool
    notes: tuple[Note, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """An operating system and what is installed in it."""

    name: str
    version: str
    title: str
    url: str
    cpe: str
    items: tuple[Item, ...]
    complete: bool
    notes: tuple[Note, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a bill of materials says."""

    name: str
    hashes: tuple[DiskHash, ...]
    systems: tuple[System, ...]
    gaps: tuple[str, ...]
    notes: tuple[Note, ...]

    @property
    def count(self) -> int:
        """How many packages and programs there are."""
        return sum(len(system.items) for system in self.systems)


def contents_of(
    inspection: Inspection,
    name: str,
    hashes: tuple[DiskHash, ...],
    languages: tuple[LanguagePackages, ...] = (),
) -> Contents:
    """Return what the bill of materials of that guest says.

    Raises ValueError if nobody can tell whose packages of languages these are.
    """
    roots = [system.root for system in inspection.operating_systems]
    owned = [replace(one, root=_owner(one, roots)) for one in languages]
    said = _Texts()
    gaps = tuple(_expressible(gap)[0] for gap in _gaps(inspection, hashes, languages))
    shown = said.take("name", name) or "guest"
    return Contents(
        name=shown,
        hashes=tuple(
            DiskHash(name=_expressible(one.name)[0], sha256=one.sha256) for one in hashes if one.sha256
        ),
        systems=tuple(  # a gap whose system is not known counts for each
            _system(system, [one for one in owned if one.root == system.root or one.root not in roots])
            for system in inspection.operating_systems
        ),
        gaps=gaps,
        notes=(
            ("complete", "false" if gaps else "true"),
            *(("gap", gap) for gap in gaps),
            *said.notes(),
        ),
    )


def _owner(languages: LanguagePackages, roots: Sequence[str]) -> str:
    """Return the root of the system whose packages these are."""
    if languages.root in roots or not languages.packages:
        return languages.root
    if not languages.root and len(roots) <= 1:
        return "".join(roots)
    has = f"the guest has {', '.join(map(repr, roots)) or 'no operating system'}"
    raise ValueError(f"sbom() argument 'languages' has packages of the root {languages.root!r}, and {has}")


def _gaps(
    inspection: Inspection, hashes: tuple[DiskHash, ...], languages: tuple[LanguagePackages, ...]
) -> Iterator[str]:
    systems = inspection.operating_systems
    for failure in inspection.failures:
        yield f"{failure.part}: {failure.message}"
    if not systems:
        yield "no operating system was found"
    for one in inspection.unopened:  # whatever the reason, packages may be there
        yield f"{one.device} was not opened: {one.message or one.reason}"

    def where(root: str) -> str:
        return f"the system on {root}: " if root and len(systems) > 1 else ""

    for system in systems:
        for failure in system.failures:
            yield f"{where(system.root)}{failure.part}: {failure.message}"
        if not system.applications_complete and all(one.part != "applications" for one in system.failures):
            yield f"{where(system.root)}applications: they are not listed, or not all of them"
    for disk in hashes:
        if disk.failure:
            yield f"{disk.name} has no hash: {disk.failure}"
    for found in languages:
        yield from (f"{where(found.root)}languages: {gap}" for gap in found.gaps)


def _system(system: OperatingSystem, languages: Sequence[LanguagePackages]) -> System:
    said = _Texts()
    release = system.os_release
    distribution = distribution_of(system)
    url = said.take_url("url", release.get("HOME_URL", ""), _URL)
    cpe = said.take_url("cpe", release.get("CPE_NAME", ""), _CPE)
    number = "" if system.major_version == 0 else f"{system.major_version}.{system.minor_version}"
    stated = {"arch": system.arch, "variant": system.product_variant, "build": system.build_id}
    fields = {
        "name": release.get("ID") or system.distro,
        "version": release.get("VERSION_ID") or number,
        "title": pretty_name(system),
    }
    texts = {field: said.take(field, text) for field, text in fields.items()}
    complete = (
        system.applications_complete and not system.failures and not any(found.gaps for found in languages)
    )
    return System(
        name=texts["name"] or "unknown",
        version=texts["version"],
        title=texts["title"],
        url=url,
        cpe=cpe,
        items=(
            *(_item(app, system, distribution) for app in system.applications),
            *(_language_item(package) for found in languages for package in found.packages),
        ),
        complete=complete,
        notes=(
            ("root", said.take("root", system.root)),
            ("packagesComplete", "true" if complete else "false"),
            *((note, said.take(note, text)) for note, text in stated.items() if text not in ("", "unknown")),
            *said.notes(),
        ),
    )


def _item(app: Application, system: OperatingSystem, distribution: Distribution) -> Item:
    said = _Texts()
    is_program = system.type == "windows"
    epoch, version = epoch_and_version(app, system.package_format)
    fields = {
        "name": shown_name(app),
        "version": full_version(app, system.package_format),
        "summary": " ".join(app.summary.split()),
        "publisher": app.publisher,
        "license": app.license,
        "arch": app.arch,
        "source": app.source_package,
        "sourceVersion": app.source_version,
    }
    texts = {field: said.take(field, known(text)) for field, text in fields.items()}
    url = said.take_url("url", known(app.url), _URL)
    purl = ""
    if said.is_exact("name", "version", "arch", "source", "sourceVersion"):
        purl = purl_of(distribution, texts["name"], version, epoch, texts["arch"], _upstream(texts))
    if not purl:
        said.leave_out("purl")
    more = {"arch": texts["arch"], "sourcePackage": texts["source"], "sourceVersion": texts["sourceVersion"]}
    if is_program:
        more["registryKey"] = said.take("registryKey", app.name)
        more["installPath"] = said.take("installPath", app.install_path)
    return Item(
        name=texts["name"] or "unnamed",
        version=texts["version"],
        summary=texts["summary"],
        publisher=texts["publisher"],
        license=texts["license"],
        url=url,
        purl=purl,
        is_program=is_program,
        notes=(*((note, text) for note, text in more.items() if text), *said.notes()),
    )


def _language_item(package: LanguagePackage) -> Item:
    said = _Texts()
    fields = ("name", "group", "version", "license", "path")
    texts = {field: said.take(field, getattr(package, field)) for field in fields}
    summary = said.take("summary", " ".join(package.summary.split()))
    purl = purl_of_language(package) if said.is_exact("name", "group", "version") else ""
    if not purl:
        said.leave_out("purl")
    return Item(
        name="/".join(filter(None, (texts["group"], texts["name"]))) or "unnamed",
        version=texts["version"],
        summary=summary,
        publisher="",
        license=texts["license"],
        url="",
        purl=purl,
        is_program=False,
        notes=(("language", package.kind), ("path", texts["path"]), *said.notes()),
    )


def _upstream(texts: dict[str, str]) -> str:
    """Return the source package as scanners look for it in a package URL: "name" or "name@version"."""
    source, version = texts["source"], texts["sourceVersion"]
    if not source or (source == texts["name"] and not version):
        return ""
    return f"{source}@{version}" if version else source


class _Texts:
    """Makes texts expressible, and keeps account of those that are not as the guest has them."""

    def __init__(self) -> None:
        self._altered: list[str] = []
        self._left_out: list[str] = []

    def take(self, field: str, text: str) -> str:
        shown, is_exact = _expressible(text)
        if not is_exact:
            self._altered.append(field)
        return shown

    def take_url(self, field: str, text: str, valid: re.Pattern[str]) -> str:
        if len(text) <= LONGEST and valid.fullmatch(text):
            return text
        if text:
            self.leave_out(field)
        return ""

    def leave_out(self, field: str) -> None:
        self._left_out.append(field)

    def is_exact(self, *fields: str) -> bool:
        return not set(fields) & set(self._altered)

    def notes(self) -> Iterator[Note]:
        if self._altered:
            yield "escapedOrCut", ",".join(self._altered)
        if self._left_out:
            yield "leftOut", ",".join(self._left_out)


def _expressible(text: str) -> tuple[str, bool]:
    """Return the text as every format can express it, and whether that is the text itself."""
    shown = printable(text[: LONGEST + 1])
    if len(shown) > LONGEST:
        shown = shown[: LONGEST - 1] + "…"
    return shown, shown == text
