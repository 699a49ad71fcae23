"""What a benchmark hands over: figures, of which tables, JSON and pictures are made."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cattrs

from benchmarks.common.machine import Machine

Unit = Literal["s", "B"]
SCALES: dict[Unit, Sequence[tuple[float, str]]] = {
    "s": ((1, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")),
    "B": ((1e6, "MB"), (1e3, "kB")),
}


@dataclass(frozen=True)
class Figure:
    """What somebody took for something: the less, the better.

    Attributes:
        suite: the benchmark, such as "launch"
        what: what was done, such as "1 disk"; a row of the table
        who: who did it, such as "guestkit" or "virt-inspector"; a column
        unit: of the samples: seconds or bytes
        samples: one of each round
        note: what the table adds, such as "fails"
    """

    suite: str
    what: str
    who: str
    unit: Unit
    samples: tuple[float, ...]
    note: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        return self.suite, self.what, self.who

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def range(self) -> tuple[float, float]:
        """Where the samples are: all of them, or, of five and more, the middle half."""
        if len(self.samples) < 5:
            return min(self.samples), max(self.samples)
        low, _, high = statistics.quantiles(self.samples, n=4)
        return low, high

    @property
    def spread(self) -> float:
        """How far the range goes from the median, as a part of it."""
        return max(abs(end - self.median) for end in self.range) / self.median if self.median else 0.0


@dataclass(frozen=True)
class Results:
    """What a run measured.

    Attributes:
        date: when it began, in UTC, as ISO 8601 has it
        command: what was typed
        machine: where
        figures: in the order of the tables
        left_out: what was not measured, and why
    """

    date: str
    command: str
    machine: Machine
    figures: tuple[Figure, ...]
    left_out: tuple[str, ...] = ()


def save(results: Results, path: Path) -> None:
    """Write the results as JSON, each figure on a line of its own."""
    head = cattrs.unstructure(results)
    rows = ",\n".join(json.dumps(figure, ensure_ascii=False) for figure in head.pop("figures"))
    text = json.dumps(head, ensure_ascii=False, indent=1).removesuffix("\n}")
    path.write_text(f'{text},\n "figures": [\n{rows}\n ]\n}}\n', encoding="utf-8")


def load(path: Path) -> Results:
    """Read what `save` has written.

    Raises:
        OSError: the file cannot be read
        ValueError: it is something else
    """
    text = path.read_text(encoding="utf-8")
    try:
        return cattrs.structure(json.loads(text), Results)
    except (ValueError, cattrs.BaseValidationError) as error:
        raise ValueError(f"{path}: not what `./run bench --json` writes") from error


def ratio(one: Figure, other: Figure) -> float:
    """Return how many times the other's figure this one is, at the median.

    Samples of the same rounds are compared round by round, for they met the same load.
    """
    if len(one.samples) == len(other.samples):
        return statistics.median(a / b for a, b in zip(one.samples, other.samples, strict=True))
    return one.median / other.median


def shown(value: float, unit: Unit) -> str:
    """Return the value with three digits, in the unit that suits it."""
    factor, name = next((scale for scale in SCALES[unit] if value >= scale[0]), SCALES[unit][-1])
    return f"{three_digits(value / factor)} {name}"


def three_digits(number: float) -> str:
    return f"{number:.{0 if number >= 100 else 1 if number >= 10 else 2}f}"


def by_suite(figures: Iterable[Figure]) -> dict[str, list[Figure]]:
    suites: dict[str, list[Figure]] = {}
    for figure in figures:
        suites.setdefault(figure.suite, []).append(figure)
    return suites


def table(figures: Sequence[Figure]) -> str:
    """Return one suite's figures as a table in Markdown.

    A cell has the median, how far the range goes from it, and how many times that of the first column it is.
    """
    rows, columns = names(figures)
    cells = {(figure.what, figure.who): figure for figure in figures}
    lines = [[figures[0].suite, *columns]]
    for row in rows:
        mine = [cells.get((row, who)) for who in columns]
        lines.append([row, *(_cell(figure, mine[0]) for figure in mine)])
    return aligned(lines)


def names(figures: Iterable[Figure]) -> tuple[list[str], list[str]]:
    """Return what was done and who did it, each in the order in which they came up."""
    pairs = [(figure.what, figure.who) for figure in figures]
    return list(dict.fromkeys(what for what, _ in pairs)), list(dict.fromkeys(who for _, who in pairs))


def _cell(figure: Figure | None, first: Figure | None) -> str:
    if figure is None:
        return "–"
    text = shown(figure.median, figure.unit)
    if len(figure.samples) > 1:
        text += f" ±{figure.spread * 100:.0f} %"
    if first is not None and first is not figure and first.median:
        text += f" ({three_digits(ratio(figure, first))})"
    return f"{text}, {figure.note}" if figure.note else text


def bullets(lines: Iterable[str]) -> str:
    """Return the lines as a list in Markdown."""
    return "\n".join(f"- {line}" for line in lines)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return the rows as a table in Markdown, of which the first is the heading."""
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*escaped, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in escaped
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])
