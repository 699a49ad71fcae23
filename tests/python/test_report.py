"""Pages of HTML about guests that were never inspected: what is on them, and that no guest adds to it."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import guestkit
import guestkit.cli.guests
from guestkit import Error, Report
from guestkit.cli import main
from guestkit.demo import DEMO_SYSTEM
from guestkit.disks import Guest, names_of
from guestkit.fleet import Failure
from guestkit.inspection import Application, Disk, Layer, OperatingSystem, PartFailure
from guestkit.reports import load
from guestkit.reports.drawings import bars
from guestkit.reports.end_of_life import TABLE, support_of
from guestkit.reports.guests import natural
from guestkit.reports.packages import PackageIndex
from tests.fleets import EVIL, GB, MB, fleet, holds, hostile_fleet, part
from tests.inspections import NOTHING_FOUND

TODAY = date(2026, 11, 29)
EMPTY_TAGS = {"meta", "link", "br", "input", "rect"}


class Element:
    """An element of a page."""

    def __init__(self, name: str, attributes: dict[str, str | None]) -> None:
        self.name = name
        self.attributes = attributes
        self.children: list[Element | str] = []

    def __getitem__(self, name: str) -> str:
        return self.attributes.get(name) or ""

    @property
    def text(self) -> str:
        if self.name == "br":
            return "\n"
        return "".join(one if isinstance(one, str) else one.text for one in self.children)

    def all(self, name: str = "", **wanted: str) -> Iterator[Element]:
        for one in self.children:
            if isinstance(one, Element):
                if name in ("", one.name) and all(
                    one[key.strip("_")] == value for key, value in wanted.items()
                ):
                    yield one
                yield from one.all(name, **wanted)

    def one(self, name: str = "", **wanted: str) -> Element:
        (found,) = self.all(name, **wanted)
        return found

    def rows(self) -> list[list[str]]:
        """Return the cells' texts of the table in it."""
        body = next(self.all("tbody"))
        return [
            [" ".join(cell.text.split()) for cell in row.children if isinstance(cell, Element)]
            for row in body.all("tr")
        ]


class Reader(HTMLParser):
    """Reads a page into elements, and insists that they are closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.top = Element("", {})
        self._open = [self.top]
        self.feed(page)
        self.close()
        assert self._open == [self.top]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs)
        element = Element(tag, dict(attrs))
        self._open[-1].children.append(element)
        if tag not in EMPTY_TAGS:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open[-1].children.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().name == tag

    def handle_data(self, data: str) -> None:
        self._open[-1].children.append(data)


def read(results: Iterable[Report], **options: Any) -> Element:
    return Reader(guestkit.report(results, **{"today": TODAY, **options})).top


def inspected(*systems: OperatingSystem, disk: str = "web.img", **more: Any) -> Report:
    inspection = replace(NOTHING_FOUND, operating_systems=systems, **more)
    return Report(disk=disk, disks=(disk,), inspection=inspection)


def data(page: Element) -> Any:
    return json.loads(page.one("script", id="data").text)


@pytest.fixture(scope="module")
def fifty() -> Element:
    return read(fleet(50))


# What is on the page.


def test_failures_come_first_with_their_cause_and_what_to_do(fifty: Element) -> None:
    sections = [section["id"] for section in fifty.all("section")]
    assert sections == ["failures", "systems", "guests", "packages"]
    rows = fifty.one("section", id="failures").rows()
    assert rows[0] == [
        "build-3.qcow2",
        "not inspected",
        "not a disk",
        "/srv/images/build-3.qcow2: begins with text, and is no disk"
        " if it is a disk after all, state --format raw",
    ]
    states = [row[1] for row in rows]
    assert states == sorted(states, reverse=True)
    assert {"encrypted", "applications"} <= {row[2] for row in rows if row[1] == "incomplete"}
    healthy = read([inspected(DEMO_SYSTEM)])
    assert "failures" not in [section["id"] for section in healthy.all("section")]


def test_systems_are_counted_with_the_end_of_their_support(fifty: Element) -> None:
    rows = {row[0]: row[1:] for row in fifty.one("section", id="systems").rows()}
    assert rows["Debian GNU/Linux 12 (bookworm)"] == ["15", "ended 2026-07-11; LTS until 2028-06-30"]
    assert rows["CentOS Linux 7 (Core)"] == ["4", "ended 2024-06-30"]
    assert rows["Arch Linux"] == ["1", "rolling: no end"]
    inspected_guests = sum(1 for one in fleet(50) if one.inspection is not None)
    assert sum(int(row[0]) for row in rows.values()) == inspected_guests
    assert f"guestkit’s table of {TABLE.date}" in fifty.one("header").text


def test_each_guest_has_a_row_and_a_part_of_its_own(fifty: Element) -> None:
    rows = fifty.one("table", id="guest-table").rows()
    assert len(rows) == 50
    names = [row[0].split(" ")[0] for row in rows]
    assert names == sorted(names, key=natural)
    assert rows[names.index("web-1.qcow2")][1:] == [
        "Debian GNU/Linux 12 (bookworm)", "web1.example.org", "ended 2026-07-11; LTS until 2028-06-30",
        "10 GiB", "2.3 GiB", "29 %", "300",
    ]  # fmt: skip
    parts = list(fifty.all("details", class_="guest"))
    assert [part["data-number"] for part in parts] == [str(number) for number in range(50)]
    targets = {link["href"] for link in fifty.all("a")}
    assert targets - {f"#{element['id']}" for element in fifty.all() if element["id"]} == set()


def test_one_guest_is_shown_open_without_a_fleets_tables() -> None:
    page = read(fleet(1))
    assert page.one("head").one("title").text == "web-1.qcow2 – guestkit report"
    assert "open" in page.one("details", class_="guest").attributes
    assert [section["id"] for section in page.all("section")] == ["guests", "packages"]


def test_no_guest_at_all_makes_a_page_too() -> None:
    page = read([], title="Nothing")
    assert (page.one("h1").text, data(page)) == ("Nothing", {"guests": [], "packages": []})


def test_packages_are_in_the_page_once_with_the_guests_that_have_them() -> None:
    old, new = (replace(DEMO_SYSTEM.applications[1], version=version) for version in ("5.1", "5.2"))
    results = [
        inspected(replace(DEMO_SYSTEM, applications=(app,)), disk=f"web-{number}.img")
        for number, app in ((10, new), (2, old), (1, old), (3, old))
    ]
    found = data(read(results))
    assert found["guests"] == ["web-1.img", "web-2.img", "web-3.img", "web-10.img"]
    assert found["packages"] == [["bash", [["5.1-2+b2 amd64", "0-2"], ["5.2-2+b2 amd64", "3"]]]]


def test_more_packages_than_are_listed_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("packages", "page"):
        monkeypatch.setattr(f"guestkit.reports.{module}.MOST", 2)
    page = read([inspected(DEMO_SYSTEM)])
    assert len(data(page)["packages"]) == 2
    assert "These have more: web.img." in page.one("section", id="packages").text


def test_each_inspection_is_let_go_of_before_the_next_one_comes() -> None:
    living: list[int] = []

    class Watched(Report):
        __slots__ = ()

        def __del__(self) -> None:
            living.pop()

    def results() -> Iterator[Report]:
        for one in fleet(5, packages=1):
            assert len(living) <= 1
            living.append(1)
            yield Watched(disk=one.disk, disks=one.disks, inspection=one.inspection, error=one.error)

    read(results())


# Drawings.


def test_a_disk_is_drawn_to_scale() -> None:
    (disk,) = bars(
        replace(
            NOTHING_FOUND,
            disks=(Disk(device="/dev/sda", format="raw", virtual_size=10 * GB),),
            partitions=(part("/dev/sda", 2, 4 * GB, 5 * GB, "data"), part("/dev/sda", 1, MB, 2 * GB)),
            filesystems=(holds("/dev/sda1", "ext4", 2 * GB, 0.25, "root"),),
        )
    )
    assert (disk.title, disk.size, disk.share) == ("/dev/sda", 10 * GB, 1)
    one, two = disk.pieces
    assert (one.device, one.start, one.size, one.kind, one.used) == (
        "/dev/sda1",
        MB,
        2 * GB,
        "filesystem",
        0.25,
    )
    assert (two.device, two.start, two.size, two.kind, two.label) == (
        "/dev/sda2",
        4 * GB,
        5 * GB,
        "other",
        "data",
    )


def test_the_volumes_of_a_group_on_two_disks_share_one_bar() -> None:
    inspection = fleet(2)[1].inspection
    assert inspection is not None
    first, second, group = bars(inspection)
    assert [one.size for one in (first, second)] == [one.virtual_size for one in inspection.disks]
    assert group.title == "volume group system"
    assert group.size == sum(one.size for one in inspection.partitions if one.device != "/dev/sda1")
    assert [piece.device for piece in group.pieces][:-1] == [
        "/dev/system/root",
        "/dev/system/var",
        "/dev/system/home",
    ]
    for before, after in itertools.pairwise(group.pieces):
        assert before.start + before.size == after.start
    rest = group.pieces[-1]
    assert (rest.kind, rest.label, rest.start + rest.size) == ("rest", "/dev/system/swap, rest", group.size)


@pytest.mark.parametrize(
    ("level", "size"),
    [("raid0", 6), ("linear", 6), ("raid1", 2), ("raid5", 4), ("raid6", 2), ("raid10", 3)],
)
def test_an_array_is_as_large_as_its_level_makes_it(level: str, size: int) -> None:
    disks = tuple(Disk(device=f"/dev/sd{letter}", format="raw", virtual_size=2 * GB) for letter in "abc")
    members = tuple(one.device for one in disks)
    array = Layer(kind="md", name="a", uuid="", level=level, members=members, devices=("/dev/md127",))
    lock = Layer(kind="luks", name="", uuid="", level="", members=("/dev/md127",), devices=())
    drawn = bars(replace(NOTHING_FOUND, disks=disks, layers=(lock, array)))
    assert [bar.size for bar in drawn] == [2 * GB, 2 * GB, 2 * GB, size * GB, size * GB]
    assert drawn[3].pieces[0].kind == "closed"
    assert drawn[4].pieces[0].label == "LUKS /dev/md127"


def test_what_has_no_size_is_left_out() -> None:
    nothing = Disk(device="/dev/sda", format="raw", virtual_size=0)
    lost = Layer(kind="lvm", name="vg", uuid="", level="", members=("/dev/gone",), devices=())
    assert bars(replace(NOTHING_FOUND, disks=(nothing,), layers=(lost,))) == ()


def test_pieces_are_drawn_where_they_are() -> None:
    figure = next(read(fleet(1)).all("figure"))
    drawn = [(one["class"], one["x"], one["width"]) for one in figure.all("svg") if one["x"]]
    sizes = [MB, 512 * MB, 1024 * MB]
    places = [MB, 2 * MB, 514 * MB]
    for (_, x, width), place, size in zip(drawn, places, sizes, strict=False):
        assert float(x.rstrip("%")) == pytest.approx(100 * place / (10 * GB), abs=0.001)
        assert float(width.rstrip("%")) == pytest.approx(max(100 * size / (10 * GB), 0.25), abs=0.001)
    assert [kind for kind, _, _ in drawn] == ["other", "filesystem", "swap", "filesystem"]


# Until when systems are supported.


def test_the_table_of_ends_is_well_formed() -> None:
    assert date(2026, 1, 1) <= TABLE.date <= date.today()
    for name, product in TABLE.products.items():
        assert product.rolling != bool(product.releases), name
        for version, dates in product.releases.items():
            days = [date.fromisoformat(one) for one in dates]
            assert days == sorted(days), (name, version)
            assert len(days) == 1 or product.extended, (name, version)
    assert set(TABLE.windows_builds.values()) <= set(TABLE.products["windows"].releases)


def test_a_windows_ends_with_the_updates_of_a_second_tuesday() -> None:
    for version, dates in TABLE.products["windows"].releases.items():
        for day in map(date.fromisoformat, dates):
            assert (day.weekday(), (day.day - 1) // 7) == (1, 1), (version, day)


@pytest.mark.parametrize(
    ("release", "told"),
    [
        ({"ID": "debian", "VERSION_ID": "13"}, "supported until 2028-08-09"),
        ({"ID": "debian", "VERSION_ID": "12.5"}, "ended 2026-07-11; LTS until 2028-06-30"),
        ({"ID": "ubuntu", "VERSION_ID": "18.10"}, "ended 2019-07-18"),
        ({"ID": "rhel", "VERSION_ID": "8.10"}, "supported until 2029-05-31"),
        ({"ID": "rhel", "VERSION_ID": "7.9"}, "ended 2024-06-30; ELS until 2029-05-31"),
        ({"ID": "centos", "VERSION_ID": "8", "NAME": "CentOS Linux"}, "ended 2021-12-31"),
        ({"ID": "centos", "VERSION_ID": "8", "NAME": "CentOS Stream"}, "ended 2024-05-31"),
        ({"ID": "rocky", "VERSION_ID": "9.4"}, "supported until 2032-05-31"),
        ({"ID": "fedora", "VERSION_ID": "43"}, "supported until 2026-12-09"),
        ({"ID": "fedora", "VERSION_ID": "99"}, "not in the table"),
        ({"ID": "alpine", "VERSION_ID": "3.20.3"}, "ended 2026-04-01"),
        ({"ID": "sles", "VERSION_ID": "15"}, "ended 2022-12-31"),
        ({"ID": "sles", "VERSION_ID": "15.99"}, "not in the table"),
        ({"ID": "opensuse-tumbleweed", "VERSION_ID": "20261120"}, "rolling: no end"),
        ({"ID": "arch"}, "rolling: no end"),
        ({"ID": "debian", "VERSION_ID": "\x1b" * 10000}, "not in the table"),
        ({"ID": "nobody", "VERSION_ID": "1"}, "not in the table"),
    ],
    ids=lambda value: re.sub(r"\W+", "-", str(value))[:40],
)
def test_support_by_os_release(release: dict[str, str], told: str) -> None:
    system = replace(DEMO_SYSTEM, os_release=release)
    assert support_of(system, TODAY).sentence == told


@pytest.mark.parametrize(
    ("distro", "major", "minor", "told"),
    [
        ("centos", 6, 10, "ended 2020-11-30"),
        ("alpinelinux", 3, 22, "supported until 2027-05-01"),
        ("debian", 8, 11, "ended 2020-06-30"),
        ("unknown", 0, 0, "not in the table"),
    ],
)
def test_support_without_os_release(distro: str, major: int, minor: int, told: str) -> None:
    system = replace(DEMO_SYSTEM, os_release={}, distro=distro, major_version=major, minor_version=minor)
    assert support_of(system, TODAY).sentence == told


@pytest.mark.parametrize(
    ("product", "build", "told"),
    [
        ("Windows Server 2012 R2 Standard", "9600", "ended 2026-10-13"),
        ("Windows Server 2012 Datacenter", "9200", "ended 2026-10-13"),
        ("Windows Server 2025 Standard", "26100", "supported until 2034-11-14"),
        ("Windows Server 2022 Standard", "20348", "supported until 2031-10-14"),
        ("Windows 10 Pro", "26200", "supported until 2027-10-12"),  # a Windows 11
        ("Windows 10 Enterprise LTSC 2019", "17763", "supported until 2029-01-09"),
        ("Windows 10 Pro", "", "not in the table"),
        ("Windows Server 2099", "99999", "not in the table"),
    ],
)
def test_support_of_a_windows(product: str, build: str, told: str) -> None:
    system = replace(
        DEMO_SYSTEM, type="windows", distro="windows", os_release={}, product_name=product, build_id=build
    )
    assert support_of(system, TODAY).sentence == told


@pytest.mark.parametrize(
    ("day", "state"),
    [
        ("2026-01-01", "supported"),
        ("2026-02-01", "ending"),
        ("2026-07-11", "ending"),
        ("2026-07-12", "extended"),
        ("2028-06-30", "extended"),
        ("2028-07-01", "ended"),
    ],
)
def test_the_last_day_of_support_counts(day: str, state: str) -> None:
    system = replace(DEMO_SYSTEM, os_release={"ID": "debian", "VERSION_ID": "12"})
    assert support_of(system, date.fromisoformat(day)).state == state


def test_a_day_at_the_end_of_the_calendar_ended_the_report() -> None:
    """As SOURCE_DATE_EPOCH can state it: the day half a year later is no date."""
    system = replace(DEMO_SYSTEM, os_release={"ID": "debian", "VERSION_ID": "12"})
    assert support_of(system, date.max).state == "ended"


# What a guest can say.


def shape(page: Element) -> set[tuple[str, str]]:
    """Return the names of elements, each with those of its attributes."""
    return {(element.name, name) for element in page.all() for name in ("", *element.attributes)}


def test_a_guest_cannot_add_to_the_page() -> None:
    page = guestkit.report(hostile_fleet()[::3], today=TODAY, title=EVIL[1])
    read_page = Reader(page).top
    assert shape(read_page) == shape(read(fleet(50, packages=2)))
    assert len(list(read_page.all("script"))) == 2
    links = {link["href"] for link in read_page.all("a")}
    assert all(re.fullmatch(r"#[a-z]+\d*", link) for link in links)
    assert not re.search(r"[^\n -~–’→×▲▼✓…]", page)  # all else is escaped: no guest's text is that exotic
    assert len(page.encode()) < 1_500_000
    script = read_page.one("script", id="data").text
    assert "<" not in script
    assert "\\\\x1b]0;owned\\\\x07" in script


def test_text_that_is_only_foreign_stays_readable() -> None:
    page = read([inspected(replace(DEMO_SYSTEM, hostname="bücher-日本"), disk="привет.img")])
    assert "bücher-日本" in page.one("section", id="guests").text
    assert page.one("h1").text == "привет.img"


def test_what_has_no_name_can_still_be_clicked() -> None:
    """A link without a text is none for a screen reader."""
    blank = replace(DEMO_SYSTEM, os_release={}, product_name=" ", distro="")
    page = read([inspected(blank, disk=name) for name in ("", "a.img")])
    assert [row[0] for row in page.one("table", id="guest-table").rows()] == ["unnamed", "a.img"]
    assert [row[0] for row in page.one("section", id="systems").rows()] == ["unnamed"]


def test_a_guest_with_more_than_anybody_reads_makes_no_endless_page() -> None:
    disks = tuple(Disk(device=f"/dev/sd{number}", format="raw", virtual_size=GB) for number in range(1000))
    parts = tuple(part("/dev/sd0", number, number * MB, MB) for number in range(1000))
    failures = tuple(PartFailure(part=str(number), message="no", op="", errno=0) for number in range(10_000))
    systems = tuple(replace(DEMO_SYSTEM, root=f"/dev/sd{number}", failures=failures) for number in range(400))
    spaces = tuple(holds(f"/dev/sd0{number}", "ext4", MB, 0.5) for number in range(10_000))
    report = inspected(*systems, disks=disks, partitions=parts, filesystems=spaces)
    page = guestkit.report([report], today=TODAY)
    assert len(page) < 1_000_000
    for told in (
        "There are more failures than the 300 that are listed.",
        "Of 400 systems, 300 are shown.",
        "Of 1000 disks and layers, 40 are shown.",
        "Of 10000 filesystems, 300 are shown.",
    ):
        assert told in page


def test_only_the_pages_own_script_and_style_may_run(fifty: Element) -> None:
    (policy,) = [one for one in fifty.all("meta") if one["http-equiv"] == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy["content"].split(";"))
    assert rules["default-src"] == "'none'"
    head = fifty.one("head")
    place = [one for one in head.children if isinstance(one, Element)]
    assert [one.name for one in place[:2]] == ["meta", "meta"]  # before anything that it rules
    (script,) = [one for one in fifty.all("script") if one["type"] != "application/json"]
    assert rules["script-src"] == f"'sha256-{digest(script.text)}'"
    assert rules["style-src"] == f"'sha256-{digest(fifty.one('style').text)}'"
    for element in fifty.all():
        assert "style" not in element.attributes
        assert not any(name.startswith("on") for name in element.attributes)
        assert "src" not in element.attributes
        assert element["href"][:1] in ("", "#") or element["href"] == "data:,"


def digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_the_script_never_parses_text_as_html() -> None:
    folder = Path(guestkit.__file__).parent / "reports" / "templates"
    script = (folder / "page.js").read_text(encoding="utf-8")
    for sink in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
        "fetch(",
    ):
        assert sink not in script


def test_every_control_has_a_name(fifty: Element) -> None:
    labels = {label["for"] for label in fifty.all("label")}
    assert {field["id"] for field in fifty.all("input")} == labels
    for table_of in fifty.all("div", class_="scroll"):
        assert table_of["aria-label"] or table_of["aria-labelledby"]
        assert table_of["tabindex"] == "0"
    for drawing in fifty.all("svg"):
        assert drawing["aria-label"] or drawing["aria-hidden"] == "true" or "x" in drawing.attributes
    assert fifty.one("html")["lang"] == "en"
    identifiers = [element["id"] for element in fifty.all() if element["id"]]
    assert len(identifiers) == len(set(identifiers))


# The same bytes.


def test_pages_are_reproducible_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    page = guestkit.report(fleet(5))
    assert page == guestkit.report(reversed(fleet(5)))
    assert "As of 2023-11-14" in page
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(Error, match="report: SOURCE_DATE_EPOCH must be a number of seconds since 1970"):
        guestkit.report([])


@pytest.mark.parametrize(("library", "call"), [("jinja2", "guestkit.report([])"), ("cattrs", "load('x')")])
def test_without_the_libraries_the_error_says_what_to_install(library: str, call: str) -> None:
    program = f"""
import sys
sys.modules["{library}"] = None
import guestkit
from guestkit.reports import load
try:
    {call}
except guestkit.Error as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == (
        f"report: {library}, which a report needs, is not installed; "
        "pip install 'jinja2>=3.1' 'cattrs>=24.1'\n"
    )


def test_names_with_numbers_are_in_their_order() -> None:
    names = ["web-10", "web-2", "Web-1", "web", "1", "", "9" * 5000]
    assert sorted(names, key=natural) == ["", "1", "9" * 5000, "Web-1", "web", "web-2", "web-10"]


def test_ranges_tell_which_guests_have_a_package() -> None:
    index = PackageIndex()
    app: Application = DEMO_SYSTEM.applications[0]
    for number in (0, 1, 2, 4):
        index.add(number, [replace(DEMO_SYSTEM, applications=(app, app))])
    ((name, versions),) = index.as_json([3, 2, 1, 0, 9])
    assert (name, versions) == ("base-files", [("12.4+deb12u5 amd64", "1-3,9")])


# Reports that were saved.

GOOD = inspected(replace(DEMO_SYSTEM, os_release={"ID": "debian", "VERSION_ID": "13"}), disk="a.img")


def test_saved_reports_are_read_as_they_were_written(tmp_path: Path) -> None:
    written = [*fleet(30, packages=3), inspected(replace(DEMO_SYSTEM, icon=b"\x89PNG"))]
    several, lines = tmp_path / "several.json", tmp_path / "lines.jsonl"
    several.write_text(json.dumps([one.to_dict() for one in written], indent=2))
    lines.write_text("".join(f"{json.dumps(one.to_dict())}\n" for one in written))
    assert list(load(str(several))) == written
    assert list(load(str(lines))) == written
    again = [one.to_dict() for one in load(str(several))]
    assert json.dumps(again) == json.dumps([one.to_dict() for one in written])  # 1 is no true there


def test_what_a_later_version_has_added_is_left_out(tmp_path: Path) -> None:
    later = fleet(8)[7].to_dict()
    later["error"]["cause"] = "gremlins"
    later["more"] = {"than": "known"}
    saved = tmp_path / "later.json"
    saved.write_text(json.dumps([later]))
    (report,) = load(str(saved))
    assert report.error is not None
    assert str(report.error.cause) == "gremlins"


def test_what_an_earlier_version_did_not_write_is_not_missed(tmp_path: Path) -> None:
    earlier = GOOD.to_dict()
    del earlier["inspection"]["provenance"]["parts"]
    saved = tmp_path / "earlier.json"
    saved.write_text(json.dumps([earlier]))
    (report,) = load(str(saved))
    assert report.inspection is not None
    assert report.inspection.provenance.parts is None


@pytest.mark.parametrize(
    "text",
    ["{\n", "[1]", "{}", '[{"disk": 1}]', "[" * 100_000, "<html>", "\udcff", '{"disk": "a", "disks": 5}'],
)
def test_another_file_is_told_from_saved_reports(tmp_path: Path, text: str) -> None:
    saved = tmp_path / "other.json"
    saved.write_bytes(os.fsencode(text))
    with pytest.raises(Error, match="its report 1 is not what guestkit inspect --json or --jsonl writes"):
        list(load(str(saved)))


def test_a_saved_size_of_four_hundred_digits_was_a_fault_of_guestkit(tmp_path: Path) -> None:
    """It is read, but cannot be drawn."""
    saved = tmp_path / "large.json"
    report = inspected(disks=(Disk(device="/dev/sda", format="raw", virtual_size=10**400),))
    saved.write_text(json.dumps([report.to_dict()]))
    with pytest.raises(Error, match=r"its report 1 is not what .*\.disks\[0\]\.virtual_size"):
        list(load(str(saved)))


def test_a_run_that_was_killed_leaves_reports_that_can_be_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One line that was cut off cost the reports of all guests before it."""
    lines = [json.dumps(one.to_dict()) for one in fleet(3)]
    saved = tmp_path / "killed.jsonl"
    saved.write_text("\n".join([*lines, lines[0][:50]]))
    assert list(load(str(saved))) == list(fleet(3))
    assert f"{saved}: its last line is not finished and is left out" in caplog.text
    saved.write_text("\n".join([lines[0], lines[1][:50], lines[2]]))  # this is another matter
    with pytest.raises(Error, match="its report 2 is not"):
        list(load(str(saved)))


@pytest.mark.parametrize(
    ("text", "told"),
    [("", "is empty: no guest is in it"), ('{"disk": "a', "its last line is not finished and is left out")],
)
def test_a_run_that_was_killed_at_its_first_guest_was_refused(
    text: str, told: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    saved, good = tmp_path / "killed.jsonl", tmp_path / "good.jsonl"
    saved.write_text(text)
    good.write_text(json.dumps(GOOD.to_dict()))
    assert list(load(str(saved))) == []
    assert f"{saved}: {told}" in caplog.text
    for more, status in ((), 1), (("--from", str(good)), 0):  # a page without any guest was a success
        words = ["report", "-q", "-o", str(tmp_path / "page.html"), "--from", str(saved), *more]
        assert main(words) == status


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        (GOOD.inspection, "Inspection"),
        ([GOOD.inspection], "of Inspection"),
        (["web.img"], "of str"),
        (GOOD, "Report"),
        (None, "NoneType"),
    ],
)
def test_an_inspection_is_told_from_a_report(wrong: Any, kind: str) -> None:
    """The error spoke of an attribute that nobody had asked for."""
    with pytest.raises(TypeError, match=rf"as inspect_many\(\[disk\]\) returns it, not {kind}$"):
        guestkit.report(wrong)


# The command.

Serve = Callable[..., None]
BAD = Report(
    disk="b.img",
    disks=("b.img",),
    error=Failure(
        kind="Error",
        message="b.img: unclear",
        errno=22,
        op="open_disk",
        cause="format_unstated",
        hint="say it",
    ),
)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Serve:
    """Feed the command these reports, the last one first, in an empty directory."""
    monkeypatch.chdir(tmp_path)

    def serve(*reports: Report) -> None:
        def inspect_many(guests: Iterable[Guest], **options: Any) -> Iterator[Report]:
            assert [names_of(guest) for guest in guests] == [tuple(report.disks) for report in reports]
            yield from reversed(reports)

        monkeypatch.setattr(guestkit.cli.guests, "inspect_many", inspect_many)

    return serve


def test_the_page_is_written_and_a_failed_disk_is_told(
    serve: Serve, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    serve(GOOD, BAD)
    Path("report.html").write_text("the one before")
    assert main(["report", "--title", "Friday", "-o", "report.html", "a.img", "b.img"]) == 1
    assert capsys.readouterr() == (
        "",
        "guestkit: error: b.img: unclear; state with --format what it is, not what its header says\n",
    )
    page = Reader(Path("report.html").read_text(encoding="utf-8")).top
    assert page.one("h1").text == "Friday"
    assert page.one("section", id="failures").rows() == [
        [
            "b.img",
            "not inspected",
            "format unstated",
            "b.img: unclear state with --format what it is, not what its header says",
        ]
    ]
    assert os.listdir() == ["report.html"]


def test_the_page_goes_to_stdout_in_utf_8(serve: Serve, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    serve(GOOD)
    assert main(["report", "a.img"]) == 0
    out, err = capfdbinary.readouterr()
    assert (out[:15], err) == (b"<!DOCTYPE html>", b"")
    assert Reader(out.decode()).top.one("h1").text == "a.img"


def test_saved_reports_and_disks_are_on_one_page(serve: Serve) -> None:
    serve(Report(disk="c", disks=("c", "d"), inspection=GOOD.inspection))
    Path("saved.json").write_text(json.dumps([GOOD.to_dict()]))
    words = ["report", "-o", "report.html", "--from", "saved.json", "--one-guest", "c", "d"]
    assert main(words) == 0
    page = Reader(Path("report.html").read_text(encoding="utf-8")).top
    assert data(page)["guests"] == ["a.img", "c"]


def test_saved_reports_are_read_from_stdin(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was taken for a file named -."""
    Path("saved.jsonl").write_text(json.dumps(GOOD.to_dict()))
    with open("saved.jsonl") as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert main(["report", "-o", "report.html", "--from", "-"]) == 0
    page = Reader(Path("report.html").read_text(encoding="utf-8")).top
    assert data(page)["guests"] == ["a.img"]


def test_a_saved_file_that_is_none_leaves_no_page(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    Path("saved.json").write_text("nonsense")
    assert main(["report", "-o", "report.html", "--from", "saved.json"]) == 1
    assert capsys.readouterr().err.startswith(
        "guestkit: error: saved.json: its report 1 is not what guestkit"
    )
    assert main(["report", "-o", "report.html", "--from", "missing.json"]) == 1
    assert capsys.readouterr().err == "guestkit: error: missing.json: No such file or directory\n"
    assert os.listdir() == ["saved.json"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "give a DISK, or --from FILE"),
        (["-o", "missing/x.html", "a"], "there is no directory for the output 'missing/x.html'"),
        (["-o", "file", "file"], "the output 'file' is the disk 'file'"),
        (["-o", ".", "file"], "the output '.' is a directory: give the name of a file"),
        (["-o", "file", "--from", "file"], "the output 'file' is what --from reads"),
    ],
)
def test_wrong_usage(serve: Serve, capsys: pytest.CaptureFixture[str], words: list[str], told: str) -> None:
    serve()
    Path("file").write_text("a disk")
    with pytest.raises(SystemExit) as ended:
        main(["report", *words])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err
    assert Path("file").read_text() == "a disk"


def test_a_terminal_gets_no_page(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("guestkit.cli.screen.Screen.is_terminal", True)
    with pytest.raises(SystemExit):
        main(["report", "a.img"])
    assert "a page of HTML is nothing for a terminal: -o FILE" in capsys.readouterr().err
