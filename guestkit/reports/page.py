"""The page: what is on it, filled into templates/page.html."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from guestkit import __version__
from guestkit._text import human_size
from guestkit._usage import percent
from guestkit.fleet import Report
from guestkit.reports.end_of_life import TABLE, Support
from guestkit.reports.guests import FULL, URGENCY, GuestRow, guest_of, natural
from guestkit.reports.packages import MOST, PackageIndex
from guestkit.reports.texts import shown

#: The words by which guests are filtered, in the order of their buttons, and what the buttons say.
TAGS = {
    "failed": "not inspected",
    "incomplete": "incomplete",
    "ended": "support ended",
    "extended": "extended support only",
    "ending": "support ends soon",
    "supported": "supported",
    "rolling": "rolling",
    "unknown": "support unknown",
    "full": f"over {FULL:.0%} full",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of system in the fleet, and how many guests have it."""

    name: str
    support: Support
    count: int


def page(results: Iterable[Report], title: str, today: date) -> str:
    """Return the page about these guests."""
    arrived: list[GuestRow] = []
    packages = PackageIndex()
    for report in results:
        packages.add(len(arrived), report.inspection.operating_systems if report.inspection else ())
        arrived.append(guest_of(report, today))
    order = sorted(range(len(arrived)), key=lambda number: natural(arrived[number].path))
    places = {number: place for place, number in enumerate(order)}
    guests = [arrived[number] for number in order]
    tags = Counter(tag for guest in guests for tag in guest.tags)
    return _TEMPLATE.render(
        title=title or _title(guests),
        today=today,
        version=__version__,
        guests=guests,
        troubled=sorted(
            ((number, guest) for number, guest in enumerate(guests) if guest.problems),
            key=lambda one: one[1].state != "failed",
        ),
        tags=[(tag, label, tags[tag]) for tag, label in TAGS.items() if tags[tag]],
        labels=TAGS,
        kinds=_kinds(guests),
        table=TABLE,
        names=len(packages),
        left_out=[guests[places[number]].name for number in packages.left_out],
        most=MOST,
        data={
            "guests": [shown(guest.name) for guest in guests],
            "packages": packages.as_json([places[number] for number in range(len(guests))]),
        },
        style=Markup(_STYLE),
        script=Markup(_SCRIPT),
        style_hash=_hash(_STYLE),
        script_hash=_hash(_SCRIPT),
    )


def _title(guests: Sequence[GuestRow]) -> str:
    return guests[0].name if len(guests) == 1 else f"{len(guests)} guests"


def _kinds(guests: Iterable[GuestRow]) -> Sequence[Kind]:
    counts = Counter((system.name, system.support) for guest in guests for system in guest.systems)
    kinds = [Kind(name=name, support=support, count=count) for (name, support), count in counts.items()]
    return sorted(kinds, key=lambda one: (-one.count, URGENCY.index(one.support.state), natural(one.name)))


def _read(name: str) -> str:
    return resources.files("guestkit.reports").joinpath("templates", name).read_text(encoding="utf-8")


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True,
        finalize=_finalized,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["size"] = _size
    environment.filters["percent"] = percent
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    return environment.from_string(_read("page.html"))


def _finalized(value: Any) -> Any:
    """Make every text that the template writes fit for a page, whoever said it. Escaping follows."""
    return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _size(size: int | None) -> str:
    if size is None:
        return ""
    text = human_size(size)
    return f"{text} B" if text.isdigit() else f"{text[:-1]} {text[-1]}iB"


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


_TEMPLATE = _template()
_STYLE = _read("page.css")
_SCRIPT = _read("page.js")
