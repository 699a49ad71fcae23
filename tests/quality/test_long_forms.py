"""Continuous integration runs every long form in its turn, and a failure in one is a failure."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
from pathlib import Path

import long_forms
import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_each_part_is_the_first_of_a_day() -> None:
    first = datetime.date(2026, 1, 1)
    days = [first + datetime.timedelta(n) for n in range(len(long_forms.PARTS))]
    assert {long_forms.rotation(day)[0] for day in days} == set(long_forms.PARTS)
    assert all(sorted(long_forms.rotation(day)) == sorted(long_forms.PARTS) for day in days)


def collected(*words: str) -> list[str]:
    command = [sys.executable, "-m", "pytest", "--full", "-m", "full", "-q", "-n", "0", "--collect-only"]
    done = subprocess.run([*command, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if "::" in line]


@pytest.mark.full
def test_each_long_form_is_in_one_part() -> None:
    found = [test for words in long_forms.PARTS.values() for test in collected(*words)]
    assert len(found) == len(set(found))
    everything = collected("tests", "--ignore", "tests/trixie")
    assert sorted(set(everything) - set(found)) == []


GOES_ON = "open('goes-on', 'w').close()\n    while True: pass"
STAYS = "while True: pass"
#: As soon as the process that counts failures has heard of one.
TELLS_OF_A_FAILURE = """
def pytest_runtest_logreport(report):
    if report.failed and "PYTEST_XDIST_WORKER" not in __import__("os").environ:
        open("goes-on", "w").close()
"""


@pytest.mark.parametrize(
    ("tests", "ended"),
    [
        pytest.param(["pass"], "passed", marks=pytest.mark.full),
        pytest.param(["assert False"], "failed", marks=pytest.mark.full),
        ([GOES_ON], "stopped"),
        (["assert False", STAYS], "failed"),
    ],
    ids=["passes", "fails", "goes on", "fails and goes on"],
)
def test_a_part_that_fails_is_told_and_one_that_the_time_ends_is_none(
    tests: list[str], ended: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class UntilItGoesOn(subprocess.Popen[bytes]):
        """The time is over as soon as a test goes on."""

        over = False

        def wait(self, timeout: float | None = None) -> int:
            if timeout is not None and not self.over and {GOES_ON, STAYS} & {*tests}:
                self.over = True
                (tmp_path / "goes-on").open().close()
                raise subprocess.TimeoutExpired("pytest", timeout)
            return super().wait(timeout)

    os.mkfifo(tmp_path / "goes-on")
    functions = [f"@pytest.mark.full\ndef test_{n}():\n    {test}\n" for n, test in enumerate(tests)]
    takes_full = "def pytest_addoption(parser): parser.addoption('--full', action='store_true')\n"
    (tmp_path / "conftest.py").write_text(takes_full + (TELLS_OF_A_FAILURE if STAYS in tests else ""))
    (tmp_path / "test_it.py").write_text("import pytest\n" + "".join(functions))
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # ours; the part's processes have their own
    monkeypatch.setattr(long_forms, "ROOT", tmp_path)
    monkeypatch.setattr(subprocess, "Popen", UntilItGoesOn)
    monkeypatch.setitem(long_forms.PARTS, "soak", ["test_it.py", "--dist", "loadfile"])
    assert long_forms.run_part("soak", 60.0) == ended
