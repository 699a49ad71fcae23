"""The packages of a fleet as an index: each name once, each version once, and which guests have it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from guestkit._versions import full_version, known, shown_name
from guestkit.inspection import OperatingSystem
from guestkit.reports.texts import named, shown

#: How many packages of one guest are indexed: it can name any number.
MOST = 20_000


class PackageIndex:
    """Collects packages guest by guest."""

    def __init__(self) -> None:
        self._names: dict[str, dict[str, list[int]]] = {}
        self.left_out: list[int] = []  # the guests that have more packages than are indexed

    def add(self, number: int, systems: Iterable[OperatingSystem]) -> None:
        """Add the packages of the guest with that number."""
        packages = [(system, package) for system in systems for package in system.applications]
        for system, package in packages[:MOST]:
            name = shown(named(shown_name(package)))
            version = f"{full_version(package, system.package_format)} {known(package.arch)}"
            guests = self._names.setdefault(name, {}).setdefault(shown(version.strip()), [])
            if not guests or guests[-1] != number:
                guests.append(number)
        if len(packages) > MOST:
            self.left_out.append(number)

    def __len__(self) -> int:
        return len(self._names)

    def as_json(self, places: Sequence[int]) -> list[tuple[str, list[tuple[str, str]]]]:
        """Return it for JSON: names in order, each with its versions, each with its guests: "0-7,9".

        places: where on the page each guest is, by its number
        """

        def placed(guests: Sequence[int]) -> str:
            return _ranges(sorted(places[number] for number in guests))

        return [
            (name, [(version, placed(guests)) for version, guests in sorted(versions.items())])
            for name, versions in sorted(self._names.items(), key=lambda item: (item[0].lower(), item[0]))
        ]


def _ranges(numbers: Sequence[int]) -> str:
    """Write numbers in ascending order as "0-7,9"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
