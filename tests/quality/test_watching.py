"""A test that hangs in native code costs itself, and is named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

TESTS = """
import ctypes
import time

from tests.watching import DEADLINE, watch


def test_before():
    pass


def test_hangs(pytestconfig):
    pytestconfig.stash[DEADLINE] = time.monotonic()
    watch(pytestconfig)
    mutex, c = ctypes.create_string_buffer(64), ctypes.CDLL(None)
    c.pthread_mutex_lock(mutex)
    c.pthread_mutex_lock(mutex)


def test_after():
    pass
"""


def test_a_run_hung_until_the_time_was_over_and_told_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        # Two processes: xdist gives up if its only one ends before the next is up.
        [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "tests.conftest",
         "-c", os.devnull, "--timeout=300", "."],
        cwd=tmp_path, env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert "1 failed, 2 passed" in done.stdout
    assert "crashed while running 'test_it.py::test_hangs'" in done.stdout
    assert "Timeout (0:00:01)!" in done.stderr
    assert "in test_hangs" in done.stderr
