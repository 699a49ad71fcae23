"""Ends a process whose test hangs in native code, which hears no signal of pytest-timeout's.

pytest-xdist then tells which test it was, and goes on in a new process.
"""

from __future__ import annotations

import faulthandler
import time

import pytest

#: Where the stacks of a hanging test's threads are shown: pytest captures standard error while a test runs.
STDERR = pytest.StashKey[int]()
#: By when the test that runs has to end, by time.monotonic().
DEADLINE = pytest.StashKey[float]()
#: How long a test has to end after its time-out, in seconds: more than a handle needs to give up a guest.
ENDING = 180.0


def watch(config: pytest.Config) -> None:
    """Have the process end at the deadline of the test that runs, with the stacks of all threads."""
    left = max(1.0, config.stash[DEADLINE] - time.monotonic())
    faulthandler.dump_traceback_later(left, file=config.stash[STDERR], exit=True)
