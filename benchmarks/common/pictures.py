"""The pictures of docs/performance.md."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

from matplotlib import rc_context
from matplotlib.figure import Figure as Drawing

from benchmarks.common.figures import Figure, Results, by_suite, names, ratio, shown, three_digits
from benchmarks.common.page import SECTIONS, Section, picture

#: For texts that readers can search, and for the same bytes each time.
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "guestkit", "font.family": "sans-serif", "font.size": 9}
#: Told apart by those who do not see all colours, too (Okabe and Ito).
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
BAR, GAP = 0.17, 0.14  # inches


def drawings(results: Results) -> dict[str, str]:
    """Return the pictures by their names, as SVG."""
    return {
        picture(suite): draw(figures, SECTIONS[suite])
        for suite, figures in by_suite(results.figures).items()
        if SECTIONS[suite].drawn
    }


def draw(figures: Sequence[Figure], section: Section) -> str:
    """Return the section's rows as groups of bars."""
    chosen = [figure for figure in figures if re.fullmatch(section.drawn, figure.what)]
    found = {(figure.what, figure.who): figure for figure in chosen}
    rows, columns = names(chosen)
    first = columns.pop(0) if section.ratios else ""
    with rc_context(STYLE):
        # Only the bars that there are take room.
        place, middles, bars = 0.0, [], []
        for row in rows:
            there = [found[row, who] for who in columns if (row, who) in found]
            middles.append(place + BAR * (len(there) - 1) / 2)
            for figure in there:
                bars.append((place, figure))
                place += BAR
            place += GAP
        drawing = Drawing(figsize=(8, place + 0.7), layout="constrained", facecolor="white")
        axes = drawing.add_subplot()
        for number, who in enumerate(columns):
            mine = [(y, figure) for y, figure in bars if figure.who == who]
            values = [ratio(one, found[one.what, first]) if first else one.median for _, one in mine]
            drawn = axes.barh(
                [y for y, _ in mine], values, BAR * 0.9, label=who, color=COLOURS[number % len(COLOURS)]
            )
            labels = [
                ", ".join(filter(None, (three_digits(value) if first else shown(value, one.unit), one.note)))
                for value, (_, one) in zip(values, mine, strict=True)
            ]
            axes.bar_label(drawn, labels, padding=3, fontsize=7)
        axes.set_yticks(middles, rows)
        axes.tick_params(left=False, bottom=False, labelbottom=False)
        axes.spines[:].set_visible(False)
        axes.margins(x=0.12, y=0.01)
        axes.invert_yaxis()
        drawing.legend(loc="outside upper left", ncols=4, frameon=False)
        text = io.StringIO()
        drawing.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return re.sub(r"[ \t]+$", "", text.getvalue(), flags=re.MULTILINE)
