"""Package URLs: the names by which scanners look packages up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from packageurl import PackageURL

from guestkit.generated.values import OperatingSystem
from guestkit.languages import LanguagePackage

#: The types of package URLs by libguestfs' package formats.
_TYPES = {"deb": "deb", "rpm": "rpm", "apk": "apk", "pacman": "alpm"}

#: os-release's ID by libguestfs' name of a distribution, where a guest has no os-release.
_IDS = {"alpinelinux": "alpine", "archlinux": "arch"}

#: The vendors by os-release's ID, where the two differ.
_VENDORS = {"rhel": "redhat", "opensuse-leap": "opensuse", "opensuse-tumbleweed": "opensuse"}

_WORD = re.compile(r"[A-Za-z0-9._+~-]{1,100}")


@dataclass(frozen=True, slots=True)
class Distribution:
    """Where packages come from: the parts of a package URL that all packages of a system share."""

    type: str
    vendor: str
    release: str


def distribution_of(system: OperatingSystem) -> Distribution:
    """Return the system's distribution; "generic" where its packages are of no format with package URLs."""
    kind = _TYPES.get(system.package_format, "generic")
    named = system.os_release.get("ID") or _IDS.get(system.distro, system.distro)
    if kind == "generic" or named == "unknown" or not _WORD.fullmatch(named):
        return Distribution(kind, "", "")
    version = system.os_release.get("VERSION_ID", "")
    release = f"{named}-{version}" if _WORD.fullmatch(version) else named
    return Distribution(kind, _VENDORS.get(named, named), release)


def purl_of_language(package: LanguagePackage) -> str:
    """Return the package URL; "" if there is none, as for a package of Maven without its group."""
    if package.kind == "maven" and not package.group:
        return ""
    return _url(package.kind, package.group, package.name, package.version, {})


def purl_of(distribution: Distribution, name: str, version: str, epoch: int, arch: str, upstream: str) -> str:
    """Return the package URL; "" if the name cannot be in one.

    upstream: the source package as scanners expect it; "" if it has the same name
    """
    kind = distribution.type
    qualifiers = {"arch": arch, "distro": distribution.release, "upstream": upstream}
    if epoch and kind == "rpm":
        qualifiers["epoch"] = str(epoch)
    elif epoch:
        version = f"{epoch}:{version}"
    return _url(kind, distribution.vendor, name, version, qualifiers)


def _url(kind: str, namespace: str, name: str, version: str, qualifiers: Mapping[str, str]) -> str:
    # PackageURL removes spaces and slashes at an end, even if nothing is left, and takes a slash within a
    # name for the end of the namespace: the URL would be that of another package.
    if any("/" in part or part != part.strip() for part in (namespace, name)):
        return ""
    try:
        return PackageURL(
            type=kind,
            namespace=namespace or None,
            name=name,
            version=version or None,
            qualifiers={key: value for key, value in qualifiers.items() if value},
        ).to_string()
    except ValueError:
        return ""
