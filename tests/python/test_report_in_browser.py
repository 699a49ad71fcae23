"""Pages of HTML in a headless Chromium: fast, silent, to be searched and sorted, and for everybody.

GUESTKIT_PICTURES=docs/pictures ./run test --full python -- -k pictures writes the pictures of docs/report.md.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import guestkit
from tests.fleets import fleet, hostile_fleet

pytestmark = pytest.mark.full

TODAY = date(2026, 11, 29)
SCHEMES = ("light", "dark")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("there is no chromium on PATH: install it")
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install -r requirements-bench.txt")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    fleets = {"1": fleet(2)[1:], "50": fleet(50), "500": fleet(500), "hostile": hostile_fleet()[::9]}
    paths = {}
    for name, reports in fleets.items():
        paths[name] = folder / f"{name}.html"
        paths[name].write_text(guestkit.report(reports, today=TODAY), encoding="utf-8")
    return paths


def dismiss(dialog: Any, told: list[str]) -> None:
    told.append(dialog.message)
    dialog.dismiss()


class Visit:
    """A page in the browser, and what it wrote to the console, requested or asked."""

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        self.page = browser.new_page(**{"viewport": {"width": 1280, "height": 900}, **options})
        self.page.set_default_timeout(10_000)
        self.complaints: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: dismiss(dialog, self.complaints))
        self.page.on("request", lambda request: self.complaints.append(request.url))
        self.page.goto(path.as_uri())
        assert self.complaints.pop(0) == path.as_uri()

    def __enter__(self) -> Any:
        return self.page

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.page.evaluate("0")  # what it has to say has arrived
            assert self.complaints == []
        self.page.close()


def column(page: Any, table: str, number: int) -> list[str]:
    """Return the texts of a column of a table, without the rows that are hidden."""
    cells: list[str] = page.eval_on_selector_all(
        f"{table} tbody tr:not([hidden]) > :nth-child({number})",
        "cells => cells.map(cell => cell.innerText.trim())",
    )
    return cells


@pytest.mark.parametrize("name", ["1", "50", "500", "hostile"])
def test_a_page_opens_without_a_word_and_asks_for_nothing(
    chromium: Any, pages: dict[str, Path], name: str
) -> None:
    with Visit(chromium, pages[name]) as page:
        assert page.evaluate("document.scripts.length") == 2
        if name != "500" and page.query_selector("#open-all"):
            page.click("#open-all")
            for packages in page.query_selector_all("details.packages summary")[:3]:
                packages.click()
        page.fill("#package-search", "a")
        assert page.evaluate("document.querySelectorAll('img, iframe, b + script').length") == 0


def test_the_policy_holds_even_if_something_got_through(chromium: Any, pages: dict[str, Path]) -> None:
    text = pages["1"].read_text(encoding="utf-8")
    broken = pages["1"].with_name("broken.html")
    attack = (
        "<img src=x onerror=alert(1)><script>alert(2)</script><script src=data:,3></script><b style=top:9px>"
    )
    broken.write_text(text.replace("<h1>", f"{attack}<h1>"), encoding="utf-8")
    page = chromium.new_page()
    dialogs: list[str] = []
    refused: list[str] = []
    page.on("dialog", lambda dialog: dismiss(dialog, dialogs))
    page.on("console", lambda message: refused.append(message.text))
    page.goto(broken.as_uri())
    page.evaluate("0")
    assert dialogs == []
    assert len([text for text in refused if "Content Security Policy" in text]) >= 4
    page.close()


def test_a_page_of_500_guests_is_there_within_a_second(chromium: Any, pages: dict[str, Path]) -> None:
    assert pages["500"].stat().st_size < 4_000_000
    used = []
    for _ in range(3):
        page = chromium.new_page()
        metrics = page.context.new_cdp_session(page)
        metrics.send("Performance.enable")
        page.goto(pages["500"].as_uri())
        found = {one["name"]: one["value"] for one in metrics.send("Performance.getMetrics")["metrics"]}
        used.append(found["ProcessTime"])  # of the processor: others use it, too
        page.close()
    assert min(used) < 1.0
    with Visit(chromium, pages["500"]) as page:
        searched = page.evaluate(
            """() => {
                const field = document.getElementById("package-search"), begun = performance.now();
                field.value = "openssl";
                field.dispatchEvent(new Event("input"));
                return performance.now() - begun;
            }"""
        )
    assert searched < 1000


def test_guests_are_found_by_words_and_by_what_is_wrong(chromium: Any, pages: dict[str, Path]) -> None:
    with Visit(chromium, pages["50"]) as page:
        page.fill("#guest-filter", "UBUNTU 24")
        assert page.inner_text("#guest-status") == "9 of 50 guests"
        assert {text.split(".")[0] for text in column(page, "#guest-table", 2)} == {"Ubuntu 24"}
        assert len(page.query_selector_all("details.guest:not([hidden])")) == 9
        page.fill("#guest-filter", "")
        page.click("button[data-tag=failed]")
        assert page.get_attribute("button[data-tag=failed]", "aria-pressed") == "true"
        assert page.inner_text("#guest-status") == "3 of 50 guests"
        page.click("button[data-tag=failed]")
        assert len(column(page, "#guest-table", 1)) == 50
        page.click("a[data-show=ended]")
        assert page.inner_text("#guest-status") == "6 of 50 guests"
        assert page.evaluate("location.hash") == "#guests"


def test_tables_are_sorted_by_value_and_by_keyboard(chromium: Any, pages: dict[str, Path]) -> None:
    """Shares were compared digit by digit, so that 0.9 came before 0.25."""
    with Visit(chromium, pages["50"]) as page:

        def press(heading: str) -> str:
            page.focus(f"#guest-table th:has-text('{heading}') button")
            page.keyboard.press("Enter")
            return str(page.get_attribute(f"#guest-table th:has-text('{heading}')", "aria-sort"))

        assert press("Fullest") == "ascending"
        shares = [int(text.split()[0]) for text in column(page, "#guest-table", 7) if text]
        assert shares == sorted(shares)
        assert press("Fullest") == "descending"
        shares = [int(text.split()[0]) for text in column(page, "#guest-table", 7) if text]
        assert shares == sorted(shares, reverse=True)
        assert column(page, "#guest-table", 7)[-3:] == ["", "", ""]  # what is unknown comes last
        assert press("Guest") == "ascending"
        names = [text.split()[0] for text in column(page, "#guest-table", 1)]
        assert names[:2] == ["backup-1.qcow2", "backup-2.qcow2"]
        assert len(page.query_selector_all("#guest-table th[aria-sort]")) == 1
        press("Disks")
        sizes = [int(text.split()[0]) for text in column(page, "#guest-table", 5) if text]
        assert sizes == sorted(sizes)


def test_packages_are_found_across_the_fleet(chromium: Any, pages: dict[str, Path]) -> None:
    having: dict[str, set[str]] = {}
    for one in fleet(50):
        for system in one.inspection.operating_systems if one.inspection else ():
            for app in system.applications:
                if app.name == "openssl":
                    version = f"{app.version}-{app.release} {app.arch}"
                    having.setdefault(version, set()).add(os.path.basename(one.disk))
    with Visit(chromium, pages["50"]) as page:
        page.fill("#package-search", "openssl")
        for more in page.query_selector_all("button.more"):
            more.click()
        rows = zip(*(column(page, "#package-table", number) for number in (1, 2, 3, 4)), strict=True)
        found = {
            version: (int(count), set(which.split(", ")))
            for name, version, count, which in rows
            if name == "openssl"
        }
        assert found == {version: (len(guests), guests) for version, guests in having.items()}
        page.fill("#package-search", "openssl-dev 2.")
        assert set(column(page, "#package-table", 1)) == {"openssl-dev"}
        page.fill("#package-search", "no such thing")
        assert page.inner_text("#package-status") == "0 versions"
        assert page.is_hidden("#package-table")
        page.fill("#package-search", "a")
        assert "the first 200 are shown" in page.inner_text("#package-status")


def test_a_link_opens_its_guest_with_its_packages(chromium: Any, pages: dict[str, Path]) -> None:
    with Visit(chromium, pages["50"]) as page:
        page.click("#guest-table a:has-text('cache-2.qcow2')")
        page.wait_for_selector("details.guest[open]")
        assert page.evaluate("document.activeElement.innerText").startswith("cache-2.qcow2")
        page.click("details.guest[open] details.packages summary")
        page.wait_for_selector("details.packages li")
        listed = page.eval_on_selector_all("details.packages li b", "all => all.map(one => one.innerText)")
    (own,) = [one for one in fleet(50) if one.disk.endswith("cache-2.qcow2")]
    assert own.inspection is not None
    assert sorted(listed) == sorted(app.name for app in own.inspection.operating_systems[0].applications)


def test_a_page_is_read_without_its_script(chromium: Any, pages: dict[str, Path]) -> None:
    with Visit(chromium, pages["50"], java_script_enabled=False) as page:
        assert page.is_visible("noscript p")
        assert page.is_hidden("#guest-filter")
        assert page.is_visible("#guest-table")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", ["1", "50", "hostile"])
def test_everybody_can_use_a_page(chromium: Any, pages: dict[str, Path], name: str, scheme: str) -> None:
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="pip install -r requirements-full.txt"
    )
    with Visit(chromium, pages[name], color_scheme=scheme) as page:
        for guest in page.query_selector_all("details.guest:not([open]) > summary")[:8]:
            guest.click()
        page.fill("#package-search", "openssl")
        found = axe.Axe().run(page)
        assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_wider_than_the_window(chromium: Any, pages: dict[str, Path], width: int) -> None:
    for name in ("1", "50", "hostile"):
        with Visit(chromium, pages[name], viewport={"width": width, "height": 800}) as page:
            for guest in page.query_selector_all("details.guest:not([open]) > summary")[:8]:
                guest.click()
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_page_prints_its_tables_with_a_head_on_each_sheet(
    chromium: Any, pages: dict[str, Path], tmp_path: Path
) -> None:
    with Visit(chromium, pages["50"]) as page:
        page.emulate_media(media="print")
        assert page.is_hidden("#guest-filter")
        assert page.is_hidden("nav")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert page.eval_on_selector("thead button", "one => getComputedStyle(one).display") == "contents"
        page.pdf(path=tmp_path / "printed.pdf", format="A4")
    assert (tmp_path / "printed.pdf").stat().st_size > 10_000


def test_pictures(chromium: Any, pages: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(os.environ.get("GUESTKIT_PICTURES", tmp_path))
    shots = (("fleet", "50", "#main", "light"), ("guest", "1", "details.guest", "dark"))
    for name, which, start, scheme in shots:
        options = {"viewport": {"width": 1080, "height": 760}, "color_scheme": scheme}
        with Visit(chromium, pages[which], **options) as page:
            page.eval_on_selector(start, "one => scrollTo(0, one.offsetTop - 20)")
            picture = folder / f"report-{name}.png"
            page.screenshot(path=picture)
            assert 10_000 < picture.stat().st_size < 200_000
