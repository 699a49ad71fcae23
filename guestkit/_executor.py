"""The threads that blocking calls run on: one executor for the process, unless a program brings its own."""

from __future__ import annotations

import os
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor

# A thread waits for its appliance nearly all of its time, and each appliance needs hundreds of MB: memory
# ends before the threads do.
MAX_THREADS = 64

_executor: Executor | None = None


def shared_executor() -> Executor:
    """Return the process' executor; made on first use."""
    global _executor
    if _executor is None:
        _executor = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="guestkit")
    return _executor


def set_executor(executor: Executor | None) -> None:
    """Have calls that start from now on run on this executor; None: on a new one of guestkit's own.

    The executor is the caller's: guestkit never shuts it down. TypeError for one that runs processes, since
    a handle lives in one process.
    """
    global _executor
    _executor = None if executor is None else thread_based(executor)


def thread_based(executor: Executor) -> Executor:
    """Return the executor, or raise TypeError if it runs processes."""
    if isinstance(executor, ProcessPoolExecutor):
        raise TypeError("guestkit needs an executor of threads: a handle lives in one process")
    return executor


def _forget_executor() -> None:
    """The threads did not come along into a forked child."""
    global _executor
    _executor = None


os.register_at_fork(after_in_child=_forget_executor)
