"""Until when a system gets security updates: by a table of this package, which has a date and a source."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from importlib import resources
from typing import Literal

from guestkit.inspection import OperatingSystem

#: "supported", "ending": within half a year, "extended": only for those who have its extended support,
#: "ended", "rolling": it has no end, "unknown": the table does not have it.
State = Literal["supported", "ending", "extended", "ended", "rolling", "unknown"]

#: From which day before its end on a system counts as "ending".
_SOON = timedelta(days=182)

#: libguestfs' names of distributions that call themselves otherwise in os-release.
_ALIASES = {
    "alpinelinux": "alpine",
    "archlinux": "arch",
    "opensuse": "opensuse-leap",
    "redhat-based": "rhel",
    "sled": "sles",
    "sles_sap": "sles",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A system of the table.

    Attributes:
        extended: what its support after the end for all is called
        rolling: it has no releases
        releases: by version: when its support ends, and when the extended one, where there is one
    """

    name: str
    extended: str = ""
    rolling: bool = False
    releases: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The whole table.

    Attributes:
        date: the day on which it was last compared with its source
        windows_builds: the release that a Windows with that build is
    """

    date: date
    source: str
    products: Mapping[str, Product]
    windows_builds: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """Until when a system gets security updates.

    Attributes:
        until: the last day for all; None: none is known
        extended: the last day of its extended support; None: it has none
        name: what that is called
    """

    state: State
    until: date | None = None
    extended: date | None = None
    name: str = ""

    @property
    def sentence(self) -> str:
        """The same for people."""
        match self.state:
            case "supported" | "ending":
                return f"supported until {self.until}"
            case "extended":
                return f"ended {self.until}; {self.name} until {self.extended}"
            case "ended":
                return f"ended {self.extended or self.until}"
            case "rolling":
                return "rolling: no end"
            case _:
                return "not in the table"


def _table() -> Table:
    text = resources.files("guestkit.reports").joinpath("end_of_life.json").read_text(encoding="utf-8")
    read = json.loads(text)
    return Table(
        date=date.fromisoformat(read["date"]),
        source=read["source"],
        products={key: Product(**{"releases": {}, **found}) for key, found in read["products"].items()},
        windows_builds=read["windows_builds"],
    )


#: The table that comes with guestkit.
TABLE = _table()


def support_of(system: OperatingSystem, today: date) -> Support:
    """Return until when the system gets security updates, as seen that day."""
    product = TABLE.products.get(_product(system))
    if product is None:
        return Support(state="unknown")
    if product.rolling:
        return Support(state="rolling")
    dates = product.releases.get(_release(system, product))
    if dates is None:
        return Support(state="unknown")
    until, extended = [*map(date.fromisoformat, dates), None][:2]
    assert until is not None
    return Support(
        state=_state(until, extended, today),
        until=until,
        extended=extended,
        name=product.extended if extended else "",
    )


def _state(until: date, extended: date | None, today: date) -> State:
    if until - today >= _SOON:
        return "supported"
    if today <= until:
        return "ending"
    return "extended" if extended is not None and today <= extended else "ended"


def _product(system: OperatingSystem) -> str:
    name = system.os_release.get("ID", "").lower() or system.distro
    name = _ALIASES.get(name, name)
    if name == "centos" and "stream" in system.os_release.get("NAME", "").lower():
        return "centos-stream"
    return name


def _release(system: OperatingSystem, product: Product) -> str:
    """Return the release of the table that the system is; "" if there is none.

    An Alpine 3.20.3 is a 3.20. But a SLES 15.8 is no 15 where the table tells 15 and 15.7 apart.
    """
    if system.type == "windows":
        return _release_of_windows(system, product)
    version = system.os_release.get("VERSION_ID") or f"{system.major_version}.{system.minor_version}"
    if version in product.releases:
        return version
    words = version.split(".")[:3]
    for count in range(len(words) - 1, 0, -1):
        shorter = ".".join(words[:count])
        if any(release.startswith(f"{shorter}.") for release in product.releases):
            return ""
        if shorter in product.releases:
            return shorter
    return ""


def _release_of_windows(system: OperatingSystem, product: Product) -> str:
    """Return the longest name of the table that the product's begins with, else the release of its build.

    A Windows 11 calls itself "Windows 10" there.
    """
    named = [name for name in product.releases if f"{system.product_name} ".startswith(f"{name} ")]
    return max(named, key=len, default="") or TABLE.windows_builds.get(system.build_id, "")
