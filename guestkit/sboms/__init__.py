"""Software bills of materials (SBOM): what an inspection found, in the formats that other tools read.

    bill = guestkit.sbom(guestkit.inspect("web.qcow2"), name="web.qcow2")
    print(bill.to_json(), bill.complete, bill.gaps)

CycloneDX and SPDX are written by their own libraries, which come with the extra `sbom`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast, get_args

from guestkit._extras import missing
from guestkit._source_date import source_date
from guestkit.sboms.hashes import DiskHash, hash_disks

if TYPE_CHECKING:
    from guestkit.generated.values import Inspection
    from guestkit.languages import LanguagePackages
    from guestkit.sboms.contents import Contents

__all__ = ["FORMATS", "DiskHash", "Sbom", "SbomFormat", "hash_disks", "require", "sbom"]

#: "cyclonedx": CycloneDX 1.6 as JSON; "spdx": SPDX 2.3 as JSON.
SbomFormat = Literal["cyclonedx", "spdx"]

#: The formats, with the ending that each recommends for the names of its files.
FORMATS: Mapping[SbomFormat, str] = {"cyclonedx": ".cdx.json", "spdx": ".spdx.json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sbom:
    """A software bill of materials.

    Attributes:
        format: what it is written in
        packages: how many packages and programs it lists
        gaps: what it may lack, a sentence each: lists of packages that are incomplete, filesystems that
            could not be opened. The document has them, too
        document: the document itself, as `json.dumps` takes it
    """

    format: SbomFormat
    packages: int
    gaps: tuple[str, ...]
    document: Mapping[str, Any]

    @property
    def complete(self) -> bool:
        """Whether it lists all packages of the guest."""
        return not self.gaps

    def to_dict(self) -> dict[str, Any]:
        """Return the document, whose schema is the format's own."""
        return dict(self.document)

    def to_json(self) -> str:
        """Return the document as text, in ASCII."""
        return json.dumps(self.document, indent=2) + "\n"


def sbom(
    inspection: Inspection,
    *,
    format: SbomFormat = "cyclonedx",
    name: str = "guest",
    hashes: Iterable[DiskHash] = (),
    languages: Iterable[LanguagePackages] = (),
) -> Sbom:
    """Return the bill of materials of a guest that was inspected, with the part "applications".

    What the guest says is hostile. A text that a format cannot express, such as control characters or bytes
    that are no UTF-8, is escaped, one of more than 1000 characters is cut, and a property of the component
    says so.

    Every bill has a serial number of its own and the time at which it was made. With SOURCE_DATE_EPOCH in the
    environment, its time is that, and the serial number is made of the content: the same inspection gives the
    same bytes.

    It is pure Python, and takes about a second for 4,000 packages: on an event loop, await
    `asyncio.to_thread(guestkit.sbom, inspection)`.

    Raises ValueError if packages of languages are of no system that the inspection has; Error if the format's
    library is not installed (ENOSYS), or SOURCE_DATE_EPOCH is no number (EINVAL).

    inspection: of the guest
    format: "cyclonedx" or "spdx"
    name: of the guest, such as the name of its disk
    hashes: of its disks, by `hash_disks`
    languages: packages of programming languages, by `guestkit.languages.find_in_guest`, or by its
        `find_packages`: then each must say by its root whose they are, where the guest has several systems
    """
    contents_of, writer = _load(format)
    when = source_date("sbom")
    contents = contents_of(inspection, name, tuple(hashes), tuple(languages))
    document = writer.document(contents, when or datetime.now(UTC).replace(microsecond=0))
    serial = uuid.uuid4() if when is None else uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(document))
    writer.number(document, serial)
    return Sbom(format=format, packages=contents.count, gaps=contents.gaps, document=document)


def require(format: SbomFormat) -> None:
    """Load what writes that format, and raise Error as `sbom` would.

    `sbom` does that by itself; call it before work that would be in vain.
    """
    source_date("sbom")
    _load(format)


class _Writer(Protocol):
    """The interface of a format's module."""

    def document(self, contents: Contents, created: datetime) -> dict[str, Any]:
        """Return the document, without a number of its own."""

    def number(self, document: dict[str, Any], serial: uuid.UUID) -> None:
        """Give the document its number."""


def _load(format: SbomFormat) -> tuple[Callable[..., Contents], _Writer]:
    """Return what gathers the contents of a bill, and what writes them."""
    if format not in get_args(SbomFormat):
        raise ValueError(f'sbom() argument \'format\' must be "cyclonedx" or "spdx", not {format!r}')
    try:
        from guestkit.sboms.contents import contents_of

        return contents_of, cast(_Writer, import_module(f"guestkit.sboms.as_{format}"))
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "guestkit":
            raise
        raise missing("sbom", error.name, "an SBOM", "sbom") from None
