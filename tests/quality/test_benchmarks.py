"""`./run bench`: figures become tables, JSON, a comparison with an earlier run, and docs/performance.md."""

from __future__ import annotations

import importlib
import re
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast
from xml.etree import ElementTree

import asyncssh
import pytest

from benchmarks import __main__ as whole
from benchmarks import async_inspection, calls, common, files, startup
from benchmarks.common import page, peers, processes, program
from benchmarks.common import record as recording
from benchmarks.common.comparison import changes
from benchmarks.common.figures import Figure, Results, Unit, load, ratio, save, shown, table
from benchmarks.common.machine import Machine
from benchmarks.common.record import Record

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ROOT / "benchmarks" / "figures.json"
PAGE = ROOT / "docs" / "performance.md"
PICTURES = ROOT / "docs" / "pictures"

MACHINE = Machine(
    processor="A processor", processors=2, memory=4 << 30, kvm=False, system="Debian",
    kernel="6.1", versions={"guestkit": "0.4.0", "QEMU": "7.2"}, load=0.1,
)  # fmt: skip


def made(*figures: Figure, machine: Machine = MACHINE) -> Results:
    return Results("2026-11-29T17:00+00:00", "./run bench", machine, figures, ("calls: a peer | is missing",))


def figure(*samples: float, what: str = "1 disk", who: str = "guestkit", note: str = "") -> Figure:
    return Figure("launch", what, who, "s", samples, note)


def test_the_page_is_made_of_the_figures_in_the_tree() -> None:
    assert PAGE.read_text(encoding="utf-8") == page.page(load(FIGURES))


def test_the_readme_claims_no_more_than_the_figures() -> None:
    found = {one.key: one for one in load(FIGURES).figures}
    own, warm = (found["launch", "1 disk", who] for who in ("libguestfs' own", "warm"))
    assert ratio(warm, own) < 0.1
    peers = [one for one in found.values() if (one.suite, one.who) == ("inspection", "virt-inspector")]
    assert len(peers) >= 3
    assert all(ratio(one, found["inspection", one.what, "guestkit"]) > 10 for one in peers)


def test_the_pictures_are_those_that_the_page_shows_and_load_nothing() -> None:
    shown = re.findall(r"\]\(pictures/(performance-\w+\.svg)\)", PAGE.read_text(encoding="utf-8"))
    assert len(shown) > 5
    assert sorted(shown) == sorted(path.name for path in PICTURES.glob("performance-*"))
    for name in shown:
        text = (PICTURES / name).read_text(encoding="utf-8")
        assert len(text) < 60_000, name
        tree = ElementTree.fromstring(text)
        assert tree.findall(".//{http://www.w3.org/2000/svg}text"), name
        assert [
            link for link in re.findall(r'(?:href|src)="([^"]+)"', text) if not link.startswith("#")
        ] == []


@pytest.mark.full
def test_the_pictures_are_made_of_the_figures_in_the_tree() -> None:
    pictures = pytest.importorskip(
        "benchmarks.common.pictures", reason="pip install -r requirements-bench.txt"
    )
    for name, text in pictures.drawings(load(FIGURES)).items():
        assert (PICTURES / name).read_text(encoding="utf-8") == text, name


def test_every_benchmark_has_a_section_of_the_page() -> None:
    names = {path.stem for path in (ROOT / "benchmarks").glob("*.py") if not path.stem.startswith("__")}
    assert names == set(page.SECTIONS)


def test_a_page_of_a_busy_machine_says_so() -> None:
    assert "Other programs ran" not in page.page(made(figure(1.0)))
    assert "Other programs ran" in page.page(made(figure(1.0), machine=replace(MACHINE, load=2.5)))


def test_a_table_has_medians_spread_ratios_and_notes() -> None:
    text = table(
        [
            figure(1.0, 2.0, 2.1),
            figure(4.0, 8.0, 10.5, who="virt-inspector"),
            figure(0.0005, what="a | b"),
            figure(3.0, what="more", who="virt-inspector", note="fails"),
        ]
    )
    rows = [re.split(r"\s*(?<!\\)\|\s*", line)[1:-1] for line in text.splitlines()]
    assert rows[0] == ["launch", "guestkit", "virt-inspector"]
    assert rows[2:] == [
        ["1 disk", "2.00 s ±50 %", "8.00 s ±50 % (4.00)"],
        ["a \\| b", "500 µs", "–"],
        ["more", "–", "3.00 s, fails"],
    ]


def test_samples_of_the_same_rounds_are_compared_round_by_round() -> None:
    assert ratio(figure(2.0, 20.0, 3.0), figure(1.0, 10.0, 1.0)) == 2.0
    assert ratio(figure(3.0), figure(1.0, 2.0)) == 2.0


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(112.4, "s", "112 s"), (0.0123, "s", "12.3 ms"), (7.2e-8, "s", "72.0 ns"), (0, "s", "0.00 ns"),
     (433e6, "B", "433 MB"), (15_000, "B", "15.0 kB")],
)  # fmt: skip
def test_values_have_the_unit_that_suits_them(value: float, unit: Unit, text: str) -> None:
    assert shown(value, unit) == text


# ---- JSON, and two runs compared


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    results = made(figure(1.0, 2.0, note="ä"), Figure("memory", "a handle", "guestkit", "B", (3e8,)))
    save(results, tmp_path / "figures.json")
    assert load(tmp_path / "figures.json") == results
    assert load(FIGURES).figures


@pytest.mark.parametrize(
    "text", ["", "[]", '{"figures": []}', '{"date": 1, "figures": [{"suite": "calls"}]}']
)
def test_another_file_than_one_with_figures_is_refused_before_anything_is_measured(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "other.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SystemExit) as raised:
        program.benchmark("calls", "").parse_args(["--against", str(path)])
    assert raised.value.code == 2
    assert f"{path}: not what `./run bench --json` writes" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--json", "/nonexistent/file"], ["--against", "/nonexistent"], ["0"]])
def test_wrong_arguments_are_told_before_anything_is_measured(words: list[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        program.benchmark("calls", "").parse_args(words)
    assert raised.value.code == 2


def test_what_the_spread_explains_is_no_change() -> None:
    then = made(
        figure(1.0, 1.2), figure(1.0, 1.2, what="b"), figure(1.0, 1.2, what="c"), figure(1.0, what="d"),
        figure(1.0, what="then only"),
    )  # fmt: skip
    now = made(
        figure(1.3, 1.4), figure(0.8, 0.9, what="b"), figure(1.1, 1.4, what="c"), figure(9.0, what="d"),
        figure(1.0, what="now only"),
    )  # fmt: skip
    assert [change.verdict for change in changes(then, now)] == ["more", "less", "", "?"]


def test_a_run_is_compared_with_an_earlier_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From --json to --against, as users do it."""
    path = tmp_path / "then.json"

    def run(*words: str, **samples: tuple[float, ...]) -> str:
        def measure(record: Record) -> None:
            for what, values in samples.items():
                record.add(what, "guestkit", *values)

        program.run("calls", program.benchmark("calls", "").parse_args([*words]), measure)
        return capsys.readouterr().out

    first = run("--json", str(path), fast=(1.0, 1.1), gone=(1.0,))
    assert load(path).figures == (
        Figure("calls", "fast", "guestkit", "s", (1.0, 1.1)),
        Figure("calls", "gone", "guestkit", "s", (1.0,)),
    )
    assert "| fast  | 1.05 s ±5 % |" in first
    save(replace(load(path), machine=replace(load(path).machine, processor="a slow one")), path)
    second = run("--against", str(path), fast=(2.0, 2.2))
    (row,) = (line for line in second.splitlines() if line.startswith("| calls     |"))
    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    assert cells == ["calls", "fast", "guestkit", "1.05 s", "2.10 s", "2.00", "more"]
    assert "Of 1 figures, 1 are now more and 0 less" in second
    assert "Another processor: then 'a slow one'" in second
    assert "Then only: calls: gone: guestkit." in second


# ---- how it measures


def test_ways_take_turns_and_the_short_form_repeats_nothing_that_takes_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "".join(Record("launch", 2).turns("ab")) == "abab"
    assert "".join(Record("launch", 2, short=True).turns("ab", at_least=3)) == "ababab"
    monkeypatch.setattr(recording, "PATIENCE", -1)
    assert "".join(Record("launch", 2, short=True).turns("ab")) == "ab"
    assert "".join(Record("launch", 2).turns("ab")) == "abab"


def test_peers_that_are_not_installed_are_left_out_and_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(peers, "DIST_PACKAGES", "/nonexistent")
    monkeypatch.setattr(peers, "SYSTEM_PYTHON", sys.executable)
    monkeypatch.delitem(sys.modules, "guestfs", raising=False)
    mine = Record("startup")
    assert {who for _, who in startup.commands(mine)} == {"guestkit", "Python alone"}
    assert not peers.system_python(mine)
    assert mine.left_out == [
        "startup: python3-guestfs is not installed for this Python",
        "startup: guestfish is not installed",
        "startup: virt-inspector is not installed",
        "startup: guestmount is not installed",
        f"startup: python3-guestfs is not installed for {sys.executable}",
    ]


def test_what_a_command_takes_is_that_of_all_its_processes() -> None:
    busy = "import time\nheld = b'x' * (64 << 20)\nwhile time.process_time() < 1: pass\nprint('done')"
    command = f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', {busy!r}]) + 3)"
    ran = processes.run([sys.executable, "-c", command])
    assert (ran.failed, ran.output) == (True, b"done\n")
    assert ran.cpu >= 1
    assert ran.seconds >= 1
    assert ran.peak > 64 << 20


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have benchmarks that are quick anyway take less than a second."""
    monkeypatch.setattr(calls, "ROUNDS", 1)
    monkeypatch.setattr(calls, "SECONDS", 0.001)
    monkeypatch.setattr(startup, "ROUNDS", 1)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "name",
    [
        "calls",
        "startup",
        *(
            pytest.param(name, marks=pytest.mark.full)
            for name in ("launch", "memory", "include_cost", "async", "async_inspection")
        ),
    ],
)
def test_a_benchmark_measures_something_for_each_row_of_its_picture(name: str) -> None:
    mine = Record(name, 1, short=True)
    importlib.import_module(f"benchmarks.{name}").measure(mine)
    drawn = [one for one in mine.figures if re.fullmatch(page.SECTIONS[name].drawn, one.what)]
    assert len(drawn) > 1
    assert all(one.median > 0 for one in mine.figures)


def test_sftp_reads_the_same_files_as_a_mount(tmp_path: Path) -> None:
    guest = files.Guest(tmp_path / "disk.img", 40, 20, 3 << 20)
    guest.make()
    with files.through_sftp(guest) as work:
        assert work.keys() == guest.tasks.keys()
        work["first"]()
        names = {str(entry.filename) for entry in cast(list[asyncssh.SFTPName], work["list"]())}
        assert names >= {f"{number:05}" for number in range(40)}
        assert work["small"]() == sum(1000 + number for number in range(20))
        assert work["large"]() == 3 << 20


def test_the_program_that_is_timed_was_not_that_of_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(async_inspection, "make_disk", lambda folder: folder / "disk.qcow2")
    monkeypatch.setattr(peers, "system_python", lambda record: True)
    ran: list[list[str]] = []

    def run(command: list[str], environment: object) -> processes.Ran:
        ran.append(command)
        disks = [word for word in command if word.endswith(".qcow2")]
        return processes.Ran(
            float(len(disks)), 0.5, 1 << 20, False, f"{[['Debian']] * len(disks)}\n".encode()
        )

    monkeypatch.setattr(processes, "run", run)
    monkeypatch.setattr(async_inspection, "THREADS", 2)
    mine = Record("async_inspection", 1, short=True)
    async_inspection.measure(mine)
    page_text = (ROOT / "docs" / "async.md").read_text(encoding="utf-8")
    assert f"```python\n{ran[0][2]}```" in page_text
    assert "AsyncGuestfs" in ran[0][2]
    assert page_text.index("```") == page_text.index("```python")
    assert {one.who: one.median for one in mine.figures if one.what == "4 disks"} == {
        "AsyncGuestfs": 4,
        "guestkit, one by one": 4,  # measured with one, and multiplied
        "guestkit, 2 threads": 4,
        "python3-guestfs, one by one": 4,
        "python3-guestfs, 2 threads": 4,
    }
    assert [sum(word.endswith(".qcow2") for word in command) for command in ran] == [4, 1, 4, 1, 2]


def test_a_loop_that_finds_something_else_is_no_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(async_inspection, "make_disk", lambda folder: folder / "disk.qcow2")
    answers = iter(["[['Debian'], ['Debian']]", "[[]]", "[['Debian']]"])
    monkeypatch.setattr(
        processes, "run", lambda *_: processes.Ran(1.0, 1.0, 1, False, next(answers).encode())
    )
    monkeypatch.setattr(peers, "SYSTEM_PYTHON", "/bin/false")
    with pytest.raises(RuntimeError, match="do not find the same"):
        async_inspection.measure(Record("async_inspection", 1), 2)


@pytest.mark.parametrize(
    ("kind", "seconds", "slow"),
    [("int out", 2.9, False), ("int out", 3.2, True), (calls.ERROR, 3.9, False), (calls.ERROR, 4.1, True)],
)
def test_a_call_may_cost_more_by_the_gil_and_the_turn_and_an_error_twice_as_much(
    kind: str, seconds: float, slow: bool
) -> None:
    figures = (
        figure(seconds, what=kind),
        figure(2.0, what=kind, who=calls.THEIRS),
        figure(0.4, what=calls.GIL),
        figure(0.6, what=calls.TURN),
    )
    assert calls.slower(figures) == [kind] * slow


Whole = Callable[..., tuple[int, Results]]


@pytest.fixture
def failure() -> BaseException:
    return RuntimeError("no more")


@pytest.fixture
def run_all(failure: BaseException, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Whole:
    """Run two made-up benchmarks, of which the first ends so after its first figure."""

    def fails(record: Record) -> None:
        record.add("1 disk", "guestkit", 1.0)
        raise failure

    def works(record: Record) -> None:
        record.add("2 disks", "guestkit", 2.0, 2.1)

    for name, measure in (("fails", fails), ("works", works)):
        module = types.ModuleType(name)
        vars(module)["measure"] = measure
        monkeypatch.setitem(sys.modules, f"benchmarks.{name}", module)
    monkeypatch.setattr(
        page, "SECTIONS", {name: page.Section(name, "About it.", ".*") for name in ("fails", "works")}
    )
    monkeypatch.setattr(whole, "ROOT", tmp_path)

    def run_all(*words: str) -> tuple[int, Results]:
        monkeypatch.setattr(
            sys, "argv", ["benchmarks/__main__.py", *words, "--json", str(tmp_path / "all.json")]
        )
        return whole.main(), load(tmp_path / "all.json")

    return run_all


def test_a_benchmark_that_fails_costs_the_others_nothing(
    run_all: Whole, capsys: pytest.CaptureFixture[str]
) -> None:
    status, results = run_all()
    told = capsys.readouterr()
    assert status == 1
    assert [one.what for one in results.figures] == ["1 disk", "2 disks"]
    assert results.left_out == ("fails: failed, in part or at all",)
    assert "RuntimeError: no more" in told.err
    assert "| 2 disks | 2.05 s ±2 % |" in told.out


@pytest.mark.parametrize("failure", [KeyboardInterrupt()])
def test_an_interrupt_keeps_what_was_measured(run_all: Whole) -> None:
    status, results = run_all()
    assert status == 1
    assert [one.what for one in results.figures] == ["1 disk"]
    assert results.left_out == ("fails: interrupted", "works: the run was interrupted before")


def test_the_page_is_written_with_its_pictures_and_figures(
    run_all: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawer = types.ModuleType("pictures")
    vars(drawer)["drawings"] = lambda results: {"performance-works.svg": f"<svg>{len(results.figures)}</svg>"}
    monkeypatch.setitem(sys.modules, "benchmarks.common.pictures", drawer)
    monkeypatch.setattr(common, "pictures", drawer, raising=False)
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "docs" / "pictures").mkdir(parents=True)
    for name in ("performance-former.svg", "report.png"):
        (tmp_path / "docs" / "pictures" / name).touch()
    _, results = run_all("--write", "--rounds", "2")
    assert load(tmp_path / "benchmarks" / "figures.json") == results
    text = (tmp_path / "docs" / "performance.md").read_text(encoding="utf-8")
    assert text == page.page(results)
    assert "./run bench --write --rounds 2 --json" in text
    assert "- fails: failed, in part or at all" in text
    pictures = {
        path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "docs" / "pictures").iterdir()
    }
    assert pictures == {"performance-works.svg": "<svg>2</svg>", "report.png": ""}
