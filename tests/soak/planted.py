"""Cases with planted faults, for the tests of the soak itself. They launch nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from tests.images.corpus import images
from tests.soak import leftovers
from tests.soak.case import Case, Found, Skipped

ABOUT = "planted faults, to test the soak"
LIMIT = 10.0
KEPT: list[int] = []


def _nothing(case: Case) -> None:
    pass


def _finding(case: Case) -> None:
    (case.input / "number").write_text(f"{case.random.random()}\n")
    raise Found("the number is none", (case.input / "number").read_text().strip())


def _exception(case: Case) -> None:
    raise ValueError("no error of guestkit")


def _crash(case: Case) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def _process(case: Case) -> None:
    subprocess.Popen(_staying(case), start_new_session=True)


def _staying(case: Case) -> list[str]:
    """Return a command that stays until the soak ends it, which is what is tested."""
    return [sys.executable, "-c", "import time; time.sleep(600)", str(case.folder)]


def process_without_a_mark(case: Case) -> None:
    """Leave a process that has no variables, as a confined QEMU has none of the soak's."""
    kept = {name: value for name, value in os.environ.items() if name == "TMPDIR"}
    subprocess.Popen(_staying(case), start_new_session=True, env=kept)


def _file(case: Case) -> None:
    directory = os.environ.get("TMPDIR", "/tmp")
    with open(f"{directory}/left", "w", encoding="utf-8") as file:
        file.write("content")


def _secret(case: Case) -> None:
    print(case.secret())


def _skipped(case: Case) -> None:
    raise Skipped("no host has that")


def _hang(case: Case) -> None:
    time.sleep(600)


def left_by_a_killed_program(case: Case) -> None:
    """Leave a file that the next program should sweep."""
    case.will_kill()
    _file(case)


def disk_left_open(case: Case) -> None:
    """Keep a disk of the corpus open, as a handle would that is never closed."""
    (disk,) = images(["debian"]).values()
    leftovers.PATIENCE = 0.1  # it is in vain
    KEPT.append(os.open(disk, os.O_RDONLY))


#: By the case's number.
FAULTS = (
    _nothing,
    _finding,
    _exception,
    _crash,
    _file,
    _secret,
    _skipped,
    _process,
    _hang,
    left_by_a_killed_program,
    disk_left_open,
    process_without_a_mark,
)


def run(case: Case) -> None:
    """Have the fault of that number, or none."""
    fault = FAULTS[case.number] if case.number < len(FAULTS) else _nothing
    case.tried(fault.__name__.lstrip("_"))
    fault(case)
