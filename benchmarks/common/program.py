"""The command lines of the benchmarks: what they have in common, and how they tell their figures."""

from __future__ import annotations

import argparse
import datetime
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.common import machine
from benchmarks.common.comparison import compared
from benchmarks.common.figures import Figure, Results, bullets, load, save, table
from benchmarks.common.record import Record


def parser(name: str, about: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that all of them have."""
    made = argparse.ArgumentParser(
        prog=f"./run bench {name}".rstrip(),
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("--json", type=_writable, metavar="FILE")
    made.add_argument("--against", type=_results, metavar="FILE")
    return made


def benchmark(name: str, about: str | None, rounds: int = 3) -> argparse.ArgumentParser:
    """Return the parser of one benchmark."""
    made = parser(name, about)
    made.add_argument("rounds", type=positive, nargs="?", default=rounds, metavar="ROUNDS")
    made.add_argument("--short", action="store_true")
    return made


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _writable(text: str) -> Path:
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():  # not after minutes of measuring
        raise argparse.ArgumentTypeError(f"{text}: cannot be written")
    return path


def _results(text: str) -> Results:
    try:
        return load(Path(text))
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def begin() -> Results:
    """Print and return what is to be known of a run before it measures."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes")
    name = Path(sys.argv[0]).stem
    words = ["./run", "bench", *([] if name == "__main__" else [name]), *sys.argv[1:]]
    begun = Results(now, shlex.join(words), machine.describe(), ())
    print(f"{bullets(begun.machine.lines())}\n", flush=True)
    return begun


def print_figures(figures: Sequence[Figure], left_out: Sequence[str]) -> None:
    """Print one benchmark's table to stdout, and what is not in it to stderr."""
    if figures:
        print(f"{table(figures)}\n", flush=True)
    for why in left_out:
        print(f"guestkit: left out: {why}", file=sys.stderr, flush=True)


def finish(results: Results, given: argparse.Namespace) -> None:
    """Do what --json and --against ask for."""
    if given.json is not None:
        save(results, given.json)
    if given.against is not None:
        print(compared(given.against, results))


def run(name: str, given: argparse.Namespace, measure: Callable[[Record], None]) -> list[Figure]:
    """Run one benchmark, and tell what it measures; return its figures."""
    results, record = begin(), Record(name, given.rounds, short=given.short)
    measure(record)
    print_figures(record.figures, record.left_out)
    finish(replace(results, figures=tuple(record.figures), left_out=tuple(record.left_out)), given)
    return record.figures
