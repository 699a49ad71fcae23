"""Packages of programming languages as values: `guestkit.languages` finds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

#: By the types of package URLs.
Kind = Literal["pypi", "npm", "maven"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguagePackage:
    """A package of a programming language. A text is "" where it is unknown.

    Attributes:
        kind: "pypi", "npm" or "maven", the type of its package URL
        group: Maven's groupId, or npm's scope with its @
        path: of the file that describes it; of an archive in an archive, "/srv/app.jar!/BOOT-INF/lib/a.jar"
    """

    kind: Kind
    group: str = ""
    name: str
    version: str
    license: str = ""
    summary: str = ""
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguagePackages:
    """The packages of an operating system.

    Attributes:
        root: the filesystem that holds the system, as in `OperatingSystem.root`; "": of the only system
        gaps: what was not read, a sentence each
    """

    root: str = ""
    packages: Sequence[LanguagePackage]
    gaps: Sequence[str] = ()
