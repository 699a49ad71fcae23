"""Compare two guests: what an inspection of the one says, and of the other.

    compared = guestkit.diff(guestkit.inspect("before.qcow2"), guestkit.inspect("after.qcow2"))
    for change in compared.changes:
        print(change.part, change.name, change.before, change.after)

Versions are compared by univers, which knows each distribution's rules: `pip install libguestkit[diff]`.
"""

from __future__ import annotations

import errno
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any, Literal

from guestkit._plain import plain
from guestkit._versions import full_version
from guestkit.errors import Error
from guestkit.generated.values import Application, Inspection, OperatingSystem
from guestkit.inspection import pretty_name

__all__ = ["Change", "Comparison", "diff", "json_schema", "require"]

SCHEMA = "guestkit.diff/1"

Order = Literal["newer", "older", ""]

#: Longer versions are not looked at: nobody can say which is newer.
LONGEST_VERSION = 200

#: By libguestfs' package format, the class of univers with its rules.
_RULES = {
    "deb": "DebianVersion",
    "rpm": "RpmVersion",
    "apk": "AlpineLinuxVersion",
    "pacman": "ArchLinuxVersion",
}

#: Facts about a system that are compared as they are.
_FACTS = (
    "type",
    "distro",
    "product_name",
    "product_variant",
    "build_id",
    "arch",
    "hostname",
    "package_format",
    "package_management",
    "timezone",
    "locale",
    "machine_id",
)

#: Parts of which a failure leaves nothing to compare, by their names in an inspection.
_LISTS = {
    "applications": "packages",
    "users": "users",
    "kernels": "kernels",
    "services": "services",
    "network": "network",
}

#: What a part has: by the name of each thing, its facts.
Things = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Something in which two guests differ.

    Attributes:
        part: "system", "os_release", "packages", "users", "services", "kernels", "network", "mountpoints",
            "drives", "filesystems" or "operating_systems"; "files" of `diff_files`
        name: of what differs, such as a package or a user
        field: in which fact, such as "shell"; "": as a whole
        before: what the first guest has; None: it lacks the thing
        after: what the second guest has; None: it lacks the thing
        order: of a package that is "newer" or "older" in the second guest, by its distribution's own rules;
            "": that is no question, or nobody can tell
        system: the root of the operating system, where a guest has several; else ""
        text: the lines of a unified diff without its head, of a text file's size or content, on request
    """

    part: str
    name: str
    field: str = ""
    before: str | None
    after: str | None
    order: Order = ""
    system: str = ""
    text: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How two guests differ.

    Attributes:
        changes: part by part, sorted by name
        unknown: what could not be compared since it is not known of both, a sentence each
    """

    schema: str = field(default=SCHEMA, init=False)
    changes: Sequence[Change]
    unknown: Sequence[str]

    def to_dict(self) -> dict[str, Any]:
        """Return it as dictionaries and tuples, for `json.dumps`. Keys are only ever added."""
        return plain(self)


def diff(a: Inspection, b: Inspection) -> Comparison:
    """Return how b differs from a, in all that both inspections were asked for.

    Raises:
        Error: univers is not installed (ENOSYS)
    """
    require()
    changes: list[Change] = []
    unknown = [
        f"{side}: {failure.part}: {failure.message}"
        for side, found in (("first", a), ("second", b))
        for failure in found.failures
    ]
    several = len(a.operating_systems) > 1 or len(b.operating_systems) > 1
    for before, after in _pairs(a.operating_systems, b.operating_systems):
        if before is None or after is None:
            changes.append(_whole_system(before, after))
            continue
        where = after.root if several else ""
        changes += (replace(change, system=where) for change in _systems(before, after))
        unknown += (f"{one}; in the system on {where}" if where else one for one in _unknown(before, after))
    if all(failure.part != "filesystems" for found in (a, b) for failure in found.failures):
        changes += _things("filesystems", _filesystems(a), _filesystems(b))
    return Comparison(changes=tuple(changes), unknown=tuple(unknown))


def require() -> None:
    """Load what compares versions. Raise Error (ENOSYS) if it is not installed.

    `diff` does that by itself; call it before work that would be in vain without.
    """
    try:
        import univers.versions  # noqa: F401
    except ModuleNotFoundError:
        message = "univers is not installed, which compares versions: pip install 'libguestkit[diff]'"
        raise Error("diff", message, errno.ENOSYS) from None


def json_schema() -> Mapping[str, Any]:
    """Return the JSON schema of `Comparison.to_dict`."""
    text, value = {"type": "string"}, {"type": ["string", "null"]}
    change = {
        "part": text,
        "name": text,
        "field": text,
        "before": value,
        "after": value,
        "order": {"enum": ["newer", "older", ""]},
        "system": text,
        "text": {"type": "array", "items": text},
    }
    properties = {
        "schema": {"const": SCHEMA},
        "changes": {
            "type": "array",
            "items": {"type": "object", "properties": change, "required": list(change)},
        },
        "unknown": {"type": "array", "items": text},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:guestkit:diff:1",
        "title": SCHEMA,
        "type": "object",
        "properties": properties,
        "required": list(properties),
    }


# ---- systems


def _pairs(
    a: Sequence[OperatingSystem], b: Sequence[OperatingSystem]
) -> Iterator[tuple[OperatingSystem | None, OperatingSystem | None]]:
    """Yield the systems that are to be compared: on the same filesystem, else in the order they have."""
    places = {(one.root, one.root_directory): one for one in b}
    left: list[OperatingSystem] = []
    for one in a:
        same = places.pop((one.root, one.root_directory), None)
        if same is None:
            left.append(one)
        else:
            yield one, same
    yield from zip_longest(left, places.values())


def _whole_system(before: OperatingSystem | None, after: OperatingSystem | None) -> Change:
    there = before or after
    assert there is not None
    return Change(
        part="operating_systems",
        name=there.root,
        before=None if before is None else pretty_name(before),
        after=None if after is None else pretty_name(after),
    )


def _unknown(before: OperatingSystem, after: OperatingSystem) -> Iterator[str]:
    for side, system in (("first", before), ("second", after)):
        for failure in system.failures:
            yield f"{side}: {failure.part}: {failure.message}"
    if _asked_for_applications(before) != _asked_for_applications(after):
        yield "applications: only one of the two inspections was asked for them"


def _asked_for_applications(system: OperatingSystem) -> bool:
    return system.applications_complete or any(one.part == "applications" for one in system.failures)


def _systems(before: OperatingSystem, after: OperatingSystem) -> Iterator[Change]:
    failed = {failure.part for system in (before, after) for failure in system.failures}
    if not (before.applications_complete and after.applications_complete):
        failed.add("applications")
    lost = {part for name, part in _LISTS.items() if name in failed}
    mine, other = _parts(before), _parts(after)
    for part in mine:
        if part == "packages" and part not in lost:
            yield from _packages(before, after)
        elif part not in lost:
            yield from _things(part, mine[part], other[part])


def _parts(system: OperatingSystem) -> dict[str, Things]:
    facts: dict[str, Any] = {name: getattr(system, name) for name in _FACTS}
    facts["version"] = f"{system.major_version}.{system.minor_version}"
    return {
        "system": _values(facts),
        "os_release": _values(system.os_release),
        "packages": {},
        "users": _listed(
            (one.name, one, ("uid", "gid", "full_name", "home", "shell")) for one in system.users
        ),
        "services": {name: {} for name in system.services},
        "kernels": _listed((one.version, one, ("image", "initrd", "modules")) for one in system.kernels),
        "network": _listed(
            (one.name, one, ("method", "addresses", "gateway", "dns", "mac", "source"))
            for one in system.network
        ),
        "mountpoints": _values(system.mountpoints),
        "drives": _values(system.drive_mappings),
    }


def _filesystems(found: Inspection) -> Things:
    return _listed((one.device, one, ("type", "label", "uuid", "size")) for one in found.filesystems)


def _values(values: Mapping[str, Any]) -> Things:
    return {name: {"": _text(value)} for name, value in values.items()}


def _listed(rows: Iterable[tuple[str, object, Sequence[str]]]) -> Things:
    """Return the things by name; a second one of the same name gets a number."""
    listed = list(rows)
    names = {name for name, _, _ in listed}
    numbers: Counter[str] = Counter()  # a guest may have 100,000 users of one name
    things: dict[str, dict[str, str]] = {}
    for name, thing, facts in listed:
        key = name
        while key in things or (key != name and key in names):
            numbers[name] += 1
            key = f"{name} #{numbers[name] + 1}"
        things[key] = {fact: _text(getattr(thing, fact)) for fact in facts}
    return things


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(value) if isinstance(value, (tuple, list)) else str(value)


def _things(part: str, before: Things, after: Things) -> Iterator[Change]:
    for name in sorted({*before, *after}):
        mine, other = before.get(name), after.get(name)
        if mine is None or other is None:
            yield Change(part=part, name=name, before=_summary(mine), after=_summary(other))
            continue
        for fact, value in mine.items():
            if value != other[fact]:
                yield Change(part=part, name=name, field=fact, before=value, after=other[fact])


def _summary(facts: Mapping[str, str] | None) -> str | None:
    return None if facts is None else ", ".join(filter(None, facts.values()))


# ---- packages


def _packages(before: OperatingSystem, after: OperatingSystem) -> Iterator[Change]:
    several = _of_several_arches([*before.applications, *after.applications])
    mine, other = (_versions(system, several) for system in (before, after))
    same_rules = before.package_format == after.package_format
    for name in sorted({*mine, *other}):
        # Without their order and what both have.
        removed = sorted((mine[name] - other[name]).elements())
        added = sorted((other[name] - mine[name]).elements())
        if len(removed) == len(added) == 1:
            order = _order(after.package_format, removed[0], added[0]) if same_rules else ""
            yield Change(part="packages", name=name, before=removed[0], after=added[0], order=order)
            continue
        for version in removed:
            yield Change(part="packages", name=name, before=version, after=None)
        for version in added:
            yield Change(part="packages", name=name, before=None, after=version)


def _of_several_arches(applications: Iterable[Application]) -> Container[str]:
    """Return the names of packages of several architectures, which are in one guest or differ in two."""
    arches: defaultdict[str, set[str]] = defaultdict(set)
    for app in applications:
        if app.arch:
            arches[_name(app)].add(app.arch)
    return {name for name, known in arches.items() if len(known) > 1}


def _versions(system: OperatingSystem, several: Container[str]) -> defaultdict[str, Counter[str]]:
    """Return how often each package has each version; a kernel has several.

    several: names that packages of several architectures have: of these it is part of the name
    """
    versions: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for app in system.applications:
        name = _name(app)
        key = f"{name}:{app.arch}" if app.arch and name in several else name
        versions[key][full_version(app, system.package_format)] += 1
    return versions


def _name(app: Application) -> str:
    return app.display_name or app.name


def _order(format: str, before: str, after: str) -> Order:
    from univers import versions

    rules = getattr(versions, _RULES.get(format, ""), None)
    if rules is None or max(len(before), len(after)) > LONGEST_VERSION:
        return ""
    try:
        first, second = rules(before), rules(after)
        return "newer" if first < second else "older" if second < first else ""
    except Exception:  # the guest chose the texts: univers raises InvalidVersion, but not for all
        return ""
