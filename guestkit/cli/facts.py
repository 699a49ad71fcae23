"""Labels with values, as lines for pipes and as a grid for terminals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.table import Table
from rich.text import Text

#: A label, and its values: already escaped, one line each.
Fact = tuple[str, list[str]]


def fact_lines(facts: Iterable[Fact]) -> Iterator[str]:
    """Yield one line per value."""
    for label, values in facts:
        first, *others = values or ["none"]
        yield f"  {label:<15} {first}"
        yield from (f"  {'':<16}{value}" for value in others)


def fact_grid(facts: Iterable[Fact]) -> Table:
    """Return the same for a terminal."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for label, values in facts:
        table.add_row(Text(label), Text("\n".join(values or ["none"])))
    return table
