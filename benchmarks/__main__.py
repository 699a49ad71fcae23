"""Measures guestkit beside what it is compared with, by all programs in benchmarks/ in their short forms.

    ./run bench [--rounds N] [--json FILE] [--against FILE] [--write]

Prints a table of each: medians, how far the samples are from them, and how many times the first column's they
are. The programs that are compared take turns in each round. Takes some ten minutes, of which nothing else
should run on the machine. Peers that are not installed are left out, and told of. An interrupt (Ctrl-C) ends
the run, and keeps what was measured until then.

  --rounds N      how often (default: 3); what takes longer than 5 s is measured once
  --json FILE     write the figures to the file
  --against FILE  compare them with those of an earlier --json: then, now, the ratio, and what changed by more
                  than the spread
  --write         make docs/performance.md, its pictures, and benchmarks/figures.json, of which they are made

Exit status: 0 everything was measured, 1 a benchmark failed or was interrupted, 2 wrong usage.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from dataclasses import replace

from benchmarks.common import page, program
from benchmarks.common.machine import ROOT
from benchmarks.common.record import Record


def main() -> int:
    parser = program.parser("", __doc__)
    parser.add_argument("--rounds", type=program.positive, default=3, metavar="N")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    if given.write:
        importlib.import_module("benchmarks.common.pictures")  # fails now where its library is missing
    results = program.begin()
    status = 0
    interrupted = False
    for suite in page.SECTIONS:
        record = Record(suite, given.rounds, short=True)
        try:
            if interrupted:
                record.leave_out("the run was interrupted before")
            else:
                importlib.import_module(f"benchmarks.{suite}").measure(record)
        except KeyboardInterrupt:
            record.leave_out("interrupted")
            interrupted, status = True, 1
        except Exception:  # costs the others nothing
            traceback.print_exc()
            record.leave_out("failed, in part or at all")
            status = 1
        program.print_figures(record.figures, record.left_out)
        results = replace(
            results,
            figures=(*results.figures, *record.figures),
            left_out=(*results.left_out, *record.left_out),
        )
    program.finish(results, given)
    if given.write and not interrupted:  # a page of some figures is not to replace one of all
        page.write(results, ROOT)
    return status


if __name__ == "__main__":
    sys.exit(main())
