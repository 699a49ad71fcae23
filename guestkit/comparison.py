"""Compare two guests: what an inspection of the one says, and of the other.

    compared = guestkit.diff(guestkit.inspect("before.qcow2"), guestkit.inspect("after.qcow2"))
    for change in compared.changes:
        print(printable(f"{change.part} {change.name}: {change.before} -> {change.after}"))

Versions are compared by univers, which knows each distribution's rules; the extra `diff` installs it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any, Literal

from guestkit._extras import missing
from guestkit._plain import plain
from guestkit._versions import full_version, shown_name
from guestkit.generated.values import Application, Inspection, OperatingSystem, PartFailure
from guestkit.inspection import ALL_PARTS, Part, pretty_name

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

#: Facts that one file tells: os-release, or a hive of the registry.
_OF_RELEASE = ("distro", "product_name", "product_variant", "version", "build_id")

#: What is not known where an inspection was not asked for a part, or failed in it: parts of a comparison, and
#: facts about a system.
_LOST: Mapping[str, Sequence[str]] = {
    "filesystems": ("filesystems",),
    "applications": ("packages",),
    "users": ("users",),
    "kernels": ("kernels",),
    "services": ("services",),
    "network": ("network",),
    "locale": ("locale", "timezone"),
    "machine_id": ("machine_id",),
    # Nobody asks for these: they are always looked for, and can fail.
    "mountpoints": ("mountpoints",),
    "os_release": ("os_release", *_OF_RELEASE, "package_format", "package_management"),
    "product_name": _OF_RELEASE,
    "arch": ("arch",),
    "hostname": ("hostname", "drives"),  # of a Windows, both are in one file
    "drive_mappings": ("drives",),
}

#: Parts of an inspection in which a failure may have hidden operating systems and filesystems.
_HIDING = ("operating_systems", "disks", "keys")

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


def diff(a: Inspection, b: Inspection, *, parts: Collection[Part] | None = None) -> Comparison:
    """Return how b differs from a, in all that both inspections were asked for.

    An inspection of an earlier version, such as one from a file, does not say what it was asked for: then
    what it has is compared. Raises ValueError for a part that is none; Error if univers is not installed
    (ENOSYS).

    parts: of the inspections, such as ["applications", "users"]: nothing else is compared but which operating
        systems there are; None: all of them, and what an inspection always tells, such as mountpoints
    """
    require()
    wanted = {*ALL_PARTS} if parts is None else {*parts}
    if unknown_parts := wanted - {*ALL_PARTS}:
        raise ValueError(f"diff() argument 'parts' has no part of inspections: {min(unknown_parts)!r}")
    left_out = set() if parts is None else _NAMES - _named(wanted)
    changes: list[Change] = []
    unknown = [
        f"{side}: {failure.part}: {failure.message}"
        for side, found in (("first", a), ("second", b))
        for failure in _about(wanted, found.failures)
    ]
    asked, asked_after = _asked(a) & wanted, _asked(b) & wanted
    unknown += _asked_once(asked, asked_after)
    lost = _named({*ALL_PARTS} - (asked & asked_after)) | left_out
    several = len(a.operating_systems) > 1 or len(b.operating_systems) > 1
    for before, after in _pairs(a.operating_systems, b.operating_systems):
        if before is None or after is None:
            changes.append(_whole_system(before, after))
            continue
        where = after.root if several else ""
        changes += (replace(change, system=where) for change in _systems(before, after, lost))
        its_unknown = _unknown(before, after, wanted, left_out)
        unknown += (f"{one}; in the system on {where}" if where else one for one in its_unknown)
    if "filesystems" not in lost | _failed(a.failures) | _failed(b.failures):
        changes += _things("filesystems", _filesystems(a), _filesystems(b))
    hidden = _hidden(a, b), _hidden(b, a)
    sure: list[Change] = []
    for change in changes:
        if doubt := _doubt(change, *hidden):
            unknown.append(doubt)
        else:
            sure.append(change)
    return Comparison(changes=tuple(sure), unknown=tuple(unknown))


def require() -> None:
    """Load what compares versions. Raise Error (ENOSYS) if it is not installed.

    `diff` does that by itself; call it before work that would be in vain without.
    """
    try:
        import univers.versions  # noqa: F401
    except ModuleNotFoundError:
        raise missing("diff", "univers", "comparing versions", "diff") from None


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


# ---- what is not known


def _asked(found: Inspection) -> Set[str]:
    """Return which parts the inspection was asked for: as it says, else those of which it has something."""
    if found.provenance.parts is not None:
        return {*found.provenance.parts}
    failures = [*found.failures, *(one for system in found.operating_systems for one in system.failures)]
    asked = {failure.part for failure in failures}
    if found.filesystems:
        asked.add("filesystems")
    for system in found.operating_systems:
        if system.applications_complete:
            asked.add("applications")
        if system.timezone:
            asked.add("locale")
        asked.update(part for part in ALL_PARTS if part != "filesystems" and getattr(system, part))
    return asked


def _asked_once(a: Set[str], b: Set[str]) -> Iterator[str]:
    for part in ALL_PARTS:
        if part in _LOST and (part in a) != (part in b):
            side = "first" if part in a else "second"
            yield f"{part}: only the {side} inspection was asked for this part, as far as is known"


def _named(parts: Iterable[str]) -> Set[str]:
    """Return how a comparison names what is not known without these parts of an inspection."""
    return {name for part in parts for name in _LOST.get(part, ())}


#: All of which a comparison can tell: its parts, and facts about a system.
_NAMES: Set[str] = {*_FACTS, *_named(_LOST)}


def _about(wanted: Set[str], failures: Iterable[PartFailure]) -> Iterator[PartFailure]:
    """Yield the failures without those of parts that nobody wants to have compared."""
    return (one for one in failures if one.part in wanted or one.part not in ALL_PARTS)


def _failed(failures: Iterable[PartFailure]) -> Set[str]:
    return _named(failure.part for failure in failures)


def _unread(system: OperatingSystem) -> Set[str]:
    """Return what is empty where a filesystem was not mounted, which may hold what tells it."""
    if system.root_directory:  # a deployment of ostree is read without mounting anything else
        return set()
    if all(failure.part != "mountpoints" for failure in system.failures):
        return set()
    parts = _parts(system)
    return {*parts, *parts["system"]} - _there(system) - {"packages", "mountpoints"}


def _there(system: OperatingSystem) -> Set[str]:
    """Return the parts and the facts of which something is known."""
    parts = _parts(system)
    facts = {name for name, fact in parts["system"].items() if fact[""] not in ("", "unknown", "0.0")}
    return facts | {part for part, things in parts.items() if things}


def _hidden(found: Inspection, other: Inspection) -> Sequence[str]:
    """Return why the guest may have more systems and filesystems than were found; nothing: it has not."""
    failures = [f"{one.part}: {one.message}" for one in found.failures if one.part in _HIDING]
    opened = {one.device for one in other.unopened}
    unopened = [one for one in found.unopened if one.device not in opened]
    return failures + [f"{one.device} was not opened: {one.message or one.reason}" for one in unopened]


def _doubt(change: Change, first: Sequence[str], second: Sequence[str]) -> str:
    """Return why the guest that lacks the thing may have it after all; "": there is no reason."""
    if change.part not in ("operating_systems", "filesystems"):
        return ""
    for side, value, reasons in (("first", change.before, first), ("second", change.after, second)):
        if value is None and reasons:
            return f"{side}: {change.part}: {change.name} may be there, too: {'; '.join(reasons)}"
    return ""


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


def _unknown(
    before: OperatingSystem, after: OperatingSystem, wanted: Set[str], left_out: Set[str]
) -> Iterator[str]:
    for side, system, other in (("first", before, after), ("second", after, before)):
        for failure in _about(wanted, system.failures):
            yield f"{side}: {failure.part}: {failure.message}"
        for name in sorted((_unread(system) & _there(other)) - left_out):
            yield f"{side}: {name}: nothing was found where not all is mounted"


def _systems(before: OperatingSystem, after: OperatingSystem, lost: Set[str]) -> Iterator[Change]:
    """Yield how two systems differ, without the parts and facts that are lost or that one could not tell."""
    for system in (before, after):
        lost = lost | _failed(system.failures) | _unread(system)
    if not (before.applications_complete and after.applications_complete):
        lost = lost | {"packages"}
    mine, other = _parts(before), _parts(after)
    for part in mine:
        if part == "packages" and part not in lost:
            yield from _packages(before, after)
        elif part not in lost:
            changes = _things(part, mine[part], other[part])
            yield from (one for one in changes if part != "system" or one.name not in lost)


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
            arches[shown_name(app)].add(app.arch)
    return {name for name, known in arches.items() if len(known) > 1}


def _versions(system: OperatingSystem, several: Container[str]) -> defaultdict[str, Counter[str]]:
    """Return how often each package has each version; a kernel has several.

    several: names that packages of several architectures have: of these it is part of the name
    """
    versions: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for app in system.applications:
        name = shown_name(app)
        key = f"{name}:{app.arch}" if app.arch and name in several else name
        versions[key][full_version(app, system.package_format)] += 1
    return versions


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
