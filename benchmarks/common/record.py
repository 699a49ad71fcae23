"""How a benchmark measures: in turns, and in rounds."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from benchmarks.common.figures import Figure, Unit, shown

T = TypeVar("T")

PATIENCE = 5.0  # seconds: what takes longer is not repeated in the short form


class Record:
    """Collects the samples of a benchmark as they are measured, and tells of each on stderr.

    Attributes:
        rounds: how often each thing is to be measured
        short: whether a run of all benchmarks has this one, which is to take minutes: smaller disks, fewer
            peers, and once only what takes long
        left_out: what is not measured, and why
    """

    def __init__(self, suite: str, rounds: int = 3, *, short: bool = False) -> None:
        self.suite = suite
        self.rounds = rounds
        self.short = short
        self.left_out: list[str] = []
        self._samples: dict[tuple[str, str], list[float]] = {}
        self._units: dict[tuple[str, str], Unit] = {}
        self._notes: dict[tuple[str, str], str] = {}

    def turns(self, ways: Iterable[T], *, at_least: int = 0) -> Iterator[T]:
        """Yield each of the ways in each round, so that all meet the same load of the machine."""
        left = list(ways)
        patience = PATIENCE if self.short else math.inf
        for _ in range(max(self.rounds, at_least)):
            for way in list(left):
                begun = time.perf_counter()
                yield way
                if time.perf_counter() - begun > patience:
                    left.remove(way)

    def add(self, what: str, who: str, *samples: float, unit: Unit = "s", note: str = "") -> None:
        """Add samples of what somebody took for something."""
        key = what, who
        # Four digits are more than any repetition has in common.
        self._samples.setdefault(key, []).extend(float(f"{sample:.4g}") for sample in samples)
        self._units[key] = unit
        self._notes[key] = note
        told = f"{shown(samples[-1], unit)} {note}".rstrip()
        print(f"guestkit: {self.suite}: {what}: {who}: {told}", file=sys.stderr, flush=True)

    @contextmanager
    def timed(self, what: str, who: str) -> Iterator[None]:
        """Add the time that the block takes."""
        begun = time.perf_counter()
        yield
        self.add(what, who, time.perf_counter() - begun)

    def leave_out(self, why: str) -> None:
        """Say that something is not measured."""
        self.left_out.append(f"{self.suite}: {why}")

    @property
    def figures(self) -> list[Figure]:
        return [
            Figure(self.suite, what, who, self._units[what, who], tuple(samples), self._notes[what, who])
            for (what, who), samples in self._samples.items()
        ]
