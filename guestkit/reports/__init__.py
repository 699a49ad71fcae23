"""Reports for people: one page of HTML about a guest, or about a thousand.

    page = guestkit.report(guestkit.inspect_many(Path("/srv/images").glob("*.qcow2")))
    Path("report.html").write_text(page, encoding="utf-8")

The page is one file that loads nothing. jinja2 fills in its template, and cattrs reads reports that were
saved; both come with the extra `report`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from importlib import import_module
from typing import TYPE_CHECKING

from guestkit._extras import missing
from guestkit._source_date import source_date

if TYPE_CHECKING:
    from guestkit.fleet import Report

__all__ = ["load", "report", "require"]


def report(results: Iterable[Report], *, title: str = "", today: date | None = None) -> str:
    """Return a page of HTML about guests that were inspected, for a file in UTF-8.

    It shows failures first, then systems, until when each gets security updates, how the disks are divided
    and how full they are, and packages, which can be searched across all guests. Take the parts "filesystems"
    and "applications", which are the default of an inspection.

    What the guests say is hostile. It is escaped, cut where it is long, and no script but the page's own
    runs.

    Raises TypeError if the results are something else, such as an Inspection; Error if jinja2 is not
    installed (ENOSYS), or SOURCE_DATE_EPOCH is no number (EINVAL).

    results: the reports of `inspect_many`; each is let go of as soon as it is read
    title: the page's title; "": what it is about
    today: the day as of which support is told; None: that of SOURCE_DATE_EPOCH in the environment, else the
        present one, in UTC
    """
    require()
    from guestkit.reports.page import page

    return page(_checked(results), title, today or _today())


def _checked(results: Iterable[Report]) -> Iterator[Report]:
    """Yield the reports; refuse what else is at hand: an inspection, a disk's name, what is awaited."""
    from guestkit.fleet import Report

    takes = "report() takes an iterable of Report, as inspect_many([disk]) returns it, not"
    if not isinstance(results, Iterable):
        raise TypeError(f"{takes} {type(results).__name__}")
    for one in results:
        if not isinstance(one, Report):
            raise TypeError(f"{takes} of {type(one).__name__}")
        yield one


def load(path: str) -> Iterator[Report]:
    """Yield the reports that `guestkit inspect --json` or `--jsonl` has written to a file, one by one.

    A last line that is not finished, as of a run that was killed, is left out, with a warning in the log.
    Raises OSError if the file cannot be read; Error if it is something else (EINVAL), or cattrs is not
    installed (ENOSYS).

    path: of the file; "-": stdin
    """
    _need("cattrs")
    from guestkit.reports import saved

    return saved.load(path)


def require() -> None:
    """Load what makes the page, and raise Error as `report` would.

    `report` does that by itself; call it before work that would be in vain.
    """
    _today()
    _need("jinja2")


def _need(library: str) -> None:
    try:
        import_module(library)
    except ModuleNotFoundError as error:
        raise missing("report", error.name, "a report", "report") from None


def _today() -> date:
    return (source_date("report") or datetime.now(UTC)).date()
