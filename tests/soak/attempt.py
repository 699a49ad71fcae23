"""Runs a case in this process.

    python -m tests.soak.attempt SECTION SEED NUMBER FOLDER SECONDS LIMIT CGROUP

tests/soak/running.py starts this, and looks afterwards at what the case has left.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path

from tests.images.corpus import BUILD
from tests.soak import leftovers
from tests.soak.case import EXPECTED, Case, Found, Skipped, expect, section


def _end_with_the_parent() -> None:
    """End the process group once whoever started the case is gone: stdin is a pipe from it."""
    while os.read(0, 1):  # not by sys.stdin, whose lock would be held when the interpreter ends
        pass
    os.killpg(0, signal.SIGKILL)


def _open_disks(case: Case) -> list[str]:
    return leftovers.descriptors_below(case.input, BUILD)


def _outcome(case: Case) -> dict[str, str]:
    try:
        section(case.section).run(case)
        gc.collect()
        # A handle that was dropped is closed by a thread of its own.
        closed = leftovers.within(leftovers.PATIENCE, lambda: not _open_disks(case))
        left = _open_disks(case)
        expect(closed, "every file of the case is closed", f"open at its end: {', '.join(left)}")
    except Found as found:
        return {"kind": "found", "expected": found.expected, "happened": found.happened}
    except Skipped as reason:
        return {"kind": "skipped", "happened": str(reason)}
    except BaseException:
        return {"kind": "found", "expected": EXPECTED, "happened": traceback.format_exc()}
    return {"kind": "good"}


def main() -> None:
    """Run the case, and write its outcome into its folder."""
    name, seed, number, folder, seconds, limit, cgroup = sys.argv[1:]
    case = Case(name, int(seed), int(number), Path(folder), float(seconds), Path(cgroup) if cgroup else None)
    faulthandler.enable()
    faulthandler.dump_traceback_later(float(limit) * 0.95)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    outcome = _outcome(case)
    (case.folder / "outcome").write_text(json.dumps(outcome), encoding="utf-8", errors="surrogatepass")


if __name__ == "__main__":
    main()
