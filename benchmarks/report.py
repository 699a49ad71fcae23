"""How soon a report is made, how large it is, and how soon a browser shows it.

    ./run bench report [ROUNDS]

Reports of 50 and of 500 guests with 300 packages each, none of which has to be inspected for it. The browser
is a headless Chromium; its processor time is that of the process that renders the page.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import guestkit
from benchmarks.common import program
from benchmarks.common.record import Record
from tests.fleets import fleet

WHO = "guestkit report"
FLEETS = (50, 500)


@contextmanager
def browser(record: Record) -> Iterator[Any]:
    """Yield a headless Chromium; None: it cannot be had, and is left out."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        from playwright.sync_api import sync_playwright  # only where it is installed
    except ImportError:
        record.leave_out("playwright is not installed: pip install -r requirements-bench.txt")
        yield None
        return
    if chromium is None:
        record.leave_out("chromium is not installed")
        yield None
        return
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=chromium)
        yield started
        started.close()


def load(record: Record, what: str, started: Any, page: Path) -> None:
    """Have the browser load the page."""
    tab = started.new_page()
    metrics = tab.context.new_cdp_session(tab)
    metrics.send("Performance.enable")
    with record.timed(f"{what}: load it", WHO):
        tab.goto(page.as_uri())
    found = {one["name"]: one["value"] for one in metrics.send("Performance.getMetrics")["metrics"]}
    record.add(f"{what}: load it, processor time", WHO, found["ProcessTime"])
    tab.close()


def measure(record: Record) -> None:
    with tempfile.TemporaryDirectory() as folder, browser(record) as started:
        reports = {count: fleet(count) for count in FLEETS}
        for count in record.turns(FLEETS):
            what, page = f"{count} guests", Path(folder) / "report.html"
            with record.timed(f"{what}: make the page", WHO):
                text = guestkit.report(reports[count])
            page.write_text(text, encoding="utf-8")
            record.add(f"{what}: its size", WHO, page.stat().st_size, unit="B")
            if started is not None:
                load(record, what, started, page)


def main() -> None:
    program.run("report", program.benchmark("report", __doc__).parse_args(), measure)


if __name__ == "__main__":
    main()
