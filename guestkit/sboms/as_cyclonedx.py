"""Bills of materials in CycloneDX 1.6, by cyclonedx-python-lib."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense, License, LicenseAcknowledgement, LicenseExpression
from cyclonedx.model.tool import ToolRepository
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema.schema import SchemaVersion1Dot6
from cyclonedx.spdx import is_supported_id
from packageurl import PackageURL

from guestkit import __version__
from guestkit.sboms.contents import PREFIX, Contents, Item, Note, System
from guestkit.sboms.licenses import Expressions

#: The reference of the guest.
_GUEST = "guest"


def document(contents: Contents, created: datetime) -> dict[str, Any]:
    """Return the document, whose serial number `number` sets."""
    bom = Bom(
        metadata=BomMetaData(
            component=_guest(contents),
            timestamp=created,
            tools=ToolRepository(components=[_tool()]),
            properties=_properties(contents.notes),
        ),
        serial_number=UUID(int=0),
    )
    written: dict[str, Any] = json.loads(JsonV1Dot6(bom).output_as_string())
    expressions = Expressions()
    systems = [f"os-{place}" for place in range(1, len(contents.systems) + 1)]
    components: list[dict[str, Any]] = []
    depends = [_depends(_GUEST, systems)]
    # The library has no compositions.
    parts = [_composition(_GUEST, not contents.gaps)]
    for place, (reference, system) in enumerate(zip(systems, contents.systems, strict=True), 1):
        items = [
            _written(_item(item, f"package-{place}-{number}", expressions))
            for number, item in enumerate(system.items, 1)
        ]
        components += [_written(_system(system, reference)), *items]
        depends.append(_depends(reference, [item["bom-ref"] for item in items]))
        parts.append(_composition(reference, system.complete))
    return {**written, "components": components, "dependencies": depends, "compositions": parts}


def _written(component: Component) -> dict[str, Any]:
    """Write one component: the library would compare every one of a document with many others."""
    written: dict[str, Any] = json.loads(component.as_json(SchemaVersion1Dot6))  # type: ignore[attr-defined]
    return written


def _depends(reference: str, others: Iterable[str]) -> dict[str, Any]:
    return {"ref": reference, "dependsOn": sorted(others)}


def number(document: dict[str, Any], serial: UUID) -> None:
    """Set the serial number."""
    document["serialNumber"] = serial.urn


def _tool() -> Component:
    return Component(name="guestkit", version=__version__, type=ComponentType.APPLICATION)


def _guest(contents: Contents) -> Component:
    disks = [(one.name, HashType(alg=HashAlgorithm.SHA_256, content=one.sha256)) for one in contents.hashes]
    guest = Component(name=contents.name, type=ComponentType.CONTAINER, bom_ref=_GUEST)
    guest.components = [
        Component(name=name, type=ComponentType.FILE, bom_ref=f"disk-{place}", hashes=[digest])
        for place, (name, digest) in enumerate(disks, 1)
    ]
    return guest


def _system(system: System, reference: str) -> Component:
    return Component(
        name=system.name,
        version=system.version or None,
        description=system.title,
        type=ComponentType.OPERATING_SYSTEM,
        bom_ref=reference,
        cpe=system.cpe or None,
        external_references=_websites(system.url),
        properties=_properties(system.notes),
    )


def _item(item: Item, reference: str, expressions: Expressions) -> Component:
    return Component(
        name=item.name,
        version=item.version or None,
        description=item.summary or None,
        publisher=item.publisher or None,
        type=ComponentType.APPLICATION if item.is_program else ComponentType.LIBRARY,
        bom_ref=reference,
        purl=PackageURL.from_string(item.purl) if item.purl else None,
        licenses=_licenses(item.license, expressions),
        external_references=_websites(item.url),
        properties=_properties(item.notes),
    )


def _licenses(text: str, expressions: Expressions) -> list[License]:
    declared = LicenseAcknowledgement.DECLARED
    if not text:
        return []
    expression = expressions.of(text)
    if not expression:
        return [DisjunctiveLicense(name=text, acknowledgement=declared)]
    if is_supported_id(expression):
        return [DisjunctiveLicense(id=expression, acknowledgement=declared)]
    return [LicenseExpression(expression, acknowledgement=declared)]


def _websites(url: str) -> list[ExternalReference]:
    return [ExternalReference(type=ExternalReferenceType.WEBSITE, url=XsUri(url))] if url else []


def _properties(notes: Iterable[Note]) -> Iterator[Property]:
    for name, value in notes:
        yield Property(name=f"{PREFIX}{name}", value=value)


def _composition(reference: str, complete: bool) -> dict[str, Any]:
    """Say whether all is there that lies in the component, and all that it depends on: its packages."""
    aggregate = "complete" if complete else "incomplete"
    return {"aggregate": aggregate, "assemblies": [reference], "dependencies": [reference]}
