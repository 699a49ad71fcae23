"""Bills of materials in SPDX 2.3, by spdx-tools."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from email.utils import parseaddr
from typing import Any
from uuid import UUID

from license_expression import LicenseSymbol, get_spdx_licensing  # type: ignore[import-untyped]
from spdx_tools.spdx.model import (
    Actor,
    ActorType,
    Checksum,
    ChecksumAlgorithm,
    CreationInfo,
    Document,
    ExternalPackageRef,
    ExternalPackageRefCategory,
    ExtractedLicensingInfo,
    Package,
    PackagePurpose,
    Relationship,
    RelationshipType,
    SpdxNoAssertion,
)
from spdx_tools.spdx.writer.json.json_writer import write_document_to_stream

from guestkit import __version__
from guestkit.sboms.contents import PREFIX, Contents, Item, Note, System
from guestkit.sboms.licenses import Expressions

_DOCUMENT, _GUEST = "SPDXRef-DOCUMENT", "SPDXRef-Guest"

#: What precedes the serial number in the document's namespace: where SPDX's own tools put theirs.
_NAMESPACE = "https://spdx.org/spdxdocs/guestkit-"

_MAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+")


def document(contents: Contents, created: datetime) -> dict[str, Any]:
    """Return the document, whose namespace `number` sets."""
    licenses = _Licenses()
    packages = [_guest(contents)]
    relations = [Relationship(_DOCUMENT, RelationshipType.DESCRIBES, _GUEST)]
    for place, disk in enumerate(contents.hashes, 1):
        digest = Checksum(ChecksumAlgorithm.SHA256, disk.sha256)
        packages.append(_package(f"SPDXRef-Disk-{place}", disk.name, PackagePurpose.FILE, checksums=[digest]))
        relations.append(Relationship(_GUEST, RelationshipType.CONTAINS, packages[-1].spdx_id))
    for place, system in enumerate(contents.systems, 1):
        inside = f"SPDXRef-OS-{place}"
        packages.append(_system(system, inside))
        relations.append(Relationship(_GUEST, RelationshipType.CONTAINS, inside))
        for number, item in enumerate(system.items, 1):
            packages.append(_item(item, f"SPDXRef-Package-{place}-{number}", licenses))
            relations.append(Relationship(inside, RelationshipType.CONTAINS, packages[-1].spdx_id))
        if not system.complete:  # "there may be more", in SPDX's words
            relations.append(Relationship(inside, RelationshipType.CONTAINS, SpdxNoAssertion()))
    if contents.gaps:
        relations.append(Relationship(_GUEST, RelationshipType.CONTAINS, SpdxNoAssertion()))
    bill = Document(
        CreationInfo(
            spdx_version="SPDX-2.3",
            spdx_id=_DOCUMENT,
            name=contents.name,
            document_namespace=_NAMESPACE,
            creators=[Actor(ActorType.TOOL, f"guestkit-{__version__}")],
            created=created,
            document_comment=_comment(contents.notes),
        ),
        packages=packages,
        relationships=relations,
        extracted_licensing_info=licenses.other,
    )
    stream = io.StringIO()
    write_document_to_stream(bill, stream, validate=False, drop_duplicates=False)
    written: dict[str, Any] = json.loads(stream.getvalue())
    return written


def number(document: dict[str, Any], serial: UUID) -> None:
    """Set the namespace, which is the document's own."""
    document["documentNamespace"] = f"{_NAMESPACE}{serial}"


class _Licenses:
    """Turns licences into expressions; those that SPDX does not know become texts of the document's own."""

    def __init__(self) -> None:
        self.other: list[ExtractedLicensingInfo] = []
        self._known: dict[str, Any] = {"": SpdxNoAssertion()}
        self._expressions = Expressions()
        self._parser = get_spdx_licensing()

    def of(self, text: str) -> Any:
        if text not in self._known:
            if expression := self._expressions.of(text):
                self._known[text] = self._parser.parse(expression)
            else:
                reference = f"LicenseRef-{len(self.other) + 1}"
                self.other.append(ExtractedLicensingInfo(reference, text, license_name=text))
                self._known[text] = LicenseSymbol(reference)
        return self._known[text]


def _package(reference: str, name: str, purpose: PackagePurpose, **more: Any) -> Package:
    return Package(
        spdx_id=reference,
        name=name,
        download_location=SpdxNoAssertion(),
        files_analyzed=False,
        license_concluded=SpdxNoAssertion(),
        copyright_text=SpdxNoAssertion(),
        primary_package_purpose=purpose,
        **{"license_declared": SpdxNoAssertion(), "supplier": SpdxNoAssertion(), **more},
    )


def _guest(contents: Contents) -> Package:
    return _package(_GUEST, contents.name, PackagePurpose.CONTAINER, comment=_comment(contents.notes))


def _system(system: System, reference: str) -> Package:
    cpe = "cpe22Type" if system.cpe.startswith("cpe:/") else "cpe23Type"
    return _package(
        reference,
        system.name,
        PackagePurpose.OPERATING_SYSTEM,
        version=system.version or None,
        summary=system.title,
        homepage=system.url or None,
        external_references=(
            [ExternalPackageRef(ExternalPackageRefCategory.SECURITY, cpe, system.cpe)] if system.cpe else []
        ),
        comment=_comment(system.notes),
    )


def _item(item: Item, reference: str, licenses: _Licenses) -> Package:
    return _package(
        reference,
        item.name,
        PackagePurpose.APPLICATION if item.is_program else PackagePurpose.LIBRARY,
        version=item.version or None,
        summary=item.summary or None,
        supplier=_supplier(item.publisher),
        license_declared=licenses.of(item.license),
        homepage=item.url or None,
        external_references=list(_locators(item)),
        comment=_comment(item.notes),
    )


def _locators(item: Item) -> Iterator[ExternalPackageRef]:
    if item.purl:
        yield ExternalPackageRef(ExternalPackageRefCategory.PACKAGE_MANAGER, "purl", item.purl)


def _supplier(publisher: str) -> Any:
    """Return "Organization: NAME (ADDRESS)"; nobody can tell organizations from persons here."""
    try:
        name, address = parseaddr(publisher)
    except RecursionError:  # it takes each colon for the begin of a group
        name = address = ""
    if name.strip() and _MAIL.fullmatch(address):
        return Actor(ActorType.ORGANIZATION, name, address)
    return Actor(ActorType.ORGANIZATION, publisher) if publisher.strip() else SpdxNoAssertion()


def _comment(notes: Iterable[Note]) -> str | None:
    """Return what SPDX has no fields for, a line each."""
    return "\n".join(f"{PREFIX}{name}: {value}" for name, value in notes) or None
