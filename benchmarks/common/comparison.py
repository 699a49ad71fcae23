"""Two runs of the benchmarks, compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.common.figures import Figure, Results, aligned, shown, three_digits


@dataclass(frozen=True)
class Change:
    """One figure, measured in two runs."""

    then: Figure
    now: Figure

    @property
    def verdict(self) -> str:
        """Whether it changed by more than the spread: "more", "less", or "" where the ranges overlap.

        A single sample has no range, and so there is no verdict: "?".
        """
        if min(len(self.then.samples), len(self.now.samples)) < 2:
            return "?"
        (then_low, then_high), (now_low, now_high) = self.then.range, self.now.range
        if now_low > then_high:
            return "more"
        return "less" if now_high < then_low else ""


def changes(then: Results, now: Results) -> list[Change]:
    """Return the figures that both runs have, as the second one orders them."""
    old = {figure.key: figure for figure in then.figures}
    return [Change(old[figure.key], figure) for figure in now.figures if figure.key in old]


def compared(then: Results, now: Results) -> str:
    """Return a table of the figures that both have, and in words what else differs."""
    found = changes(then, now)
    rows = [["benchmark", "what", "who", "then", "now", "ratio", "changed"]]
    for change in found:
        before, after = change.then, change.now
        times = three_digits(after.median / before.median) if before.median else "–"
        medians = [shown(figure.median, figure.unit) for figure in (before, after)]
        rows.append([*after.key, *medians, times, change.verdict])
    counts = {word: sum(change.verdict == word for change in found) for word in ("more", "less", "", "?")}
    summary = (
        f"Of {len(found)} figures, {counts['more']} are now more and {counts['less']} less, by more than the "
        f"spread; {counts['']} are not; of {counts['?']} it cannot be said, for they were measured once."
    )
    return "\n".join([aligned(rows), "", summary, *_differences(then, now)])


def _differences(then: Results, now: Results) -> Iterator[str]:
    """Yield what else differs between the runs, which may explain a change."""
    old, new = (dataclasses.asdict(results.machine) for results in (then, now))
    old, new = ({**machine.pop("versions"), **machine} for machine in (old, new))
    for name in {**old, **new}:
        before, after = (machine.get(name, "none") for machine in (old, new))
        if before != after:
            yield f"Another {name}: then {before!r}, now {after!r}."
    suites = {figure.suite for figure in now.figures}
    missing = {figure.key for figure in then.figures if figure.suite in suites} - {f.key for f in now.figures}
    for key in sorted(missing):
        yield f"Then only: {': '.join(key)}."
