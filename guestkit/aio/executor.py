"""The threads that blocking calls run on: a pool of this process, unless the program sets an executor.

Launches have a pool of their own, and so have the functions given to `run` of a handle that has not been
launched: they may launch it, or prepare it for that. A launch may wait for memory that only calls on other
handles can free, so it must not take the threads of those calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, thread
from contextvars import Context
from typing import Any, Generic, Literal, TypeVar

from guestkit.errors import Error, dropped

T = TypeVar("T")

# A thread spends nearly all its time waiting for its appliance, and each appliance needs hundreds of MB:
# memory runs out before the threads do.
MAX_THREADS = 64

_executor: Executor | None = None  # the one set by the program
_own: dict[str, Executor] = {}


#: The pools by the names of their threads: for launches, for what may launch, and for all other calls.
Pool = Literal["guestkit-launch", "guestkit-run", "guestkit"]


def shared_executor(name: Pool = "guestkit") -> Executor:
    """Return the program's executor, or that pool of the process' own, created on first use."""
    if _executor is not None:
        return _executor
    if name not in _own:
        _own[name] = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix=name)
    return _own[name]


def programs_executor() -> Executor | None:
    """Return the executor that the program has set; None: there is none."""
    return _executor


def set_executor(executor: Executor | None) -> None:
    """Run calls that start from now on on this executor; None: on guestkit's own.

    The executor belongs to the caller: guestkit never shuts it down. Raises TypeError for an executor of
    processes, because a handle lives in one process.
    """
    global _executor
    _executor = thread_based(executor)


def thread_based(executor: Executor | None) -> Executor | None:
    """Return the executor; raise TypeError if it runs processes."""
    if isinstance(executor, ProcessPoolExecutor):
        raise TypeError("guestkit needs an executor of threads: a handle lives in one process")
    return executor


class Errand(Generic[T]):
    """A function that waits for a thread of an executor, and then runs there.

    Unlike loop.run_in_executor it can be withdrawn while it waits, whatever the executor makes of a cancel,
    and is quiet if the loop is closed before the function returns: before Python 3.12 asyncio logs a
    traceback for every such call.

    Attributes:
        outcome: what the function returns or raises; cancelled if it was withdrawn
    """

    def __init__(self, executor: Executor, op: str, function: Callable[[], T]) -> None:
        """Hand the function over; on the loop's thread.

        op: the call that it is for, in the error
        Raises Error if no thread can be started, RuntimeError if the executor was shut down or takes no work.
        """
        loop = asyncio.get_running_loop()
        self.outcome: asyncio.Future[T] = loop.create_future()
        self._lock = threading.Lock()
        self._function: Callable[[], T] | None = function  # None: begun, or withdrawn
        try:
            done = executor.submit(self._work)
        except RuntimeError as error:
            self.withdraw()  # a pool that cannot start a thread has queued the work all the same
            # What else refuses work, such as a broken pool or a full queue, tells it by an error of its own.
            if type(error) is not RuntimeError or type(executor) is not ThreadPoolExecutor:
                raise
            if _is_shut_down(executor):
                raise
            raise _no_thread(op) from error
        done.add_done_callback(lambda done: pass_on(loop, done, self.outcome))

    def withdraw(self) -> bool:
        """Keep the function from running; return False if a thread has begun it. On the loop's thread."""
        if self._take() is None:
            return False
        self.outcome.cancel()
        return True

    def _take(self) -> Callable[[], T] | None:
        with self._lock:
            function, self._function = self._function, None
            return function

    def _work(self) -> T:
        if (function := self._take()) is None:
            raise RuntimeError("withdrawn while it waited for a thread")
        return function()


def _is_shut_down(pool: ThreadPoolExecutor) -> bool:
    """Return whether a shutdown may be why it takes no work. No public name of a pool of threads tells it."""
    interpreter_ends: bool = getattr(thread, "_shutdown", False)
    return interpreter_ends or getattr(pool, "_shutdown", True)


def _no_thread(op: str) -> Error:
    message = (
        "no thread can be started: end others, or raise the limit of this user (ulimit -u) or of the control"
        " group (pids.max)"
    )
    return Error(op, message, errno.EAGAIN)


def run_in_thread(op: str, function: Callable[[], T]) -> asyncio.Future[T]:
    """Run the function on its own thread, so that it never waits for a free one. On the loop's thread.

    op: the call that it is for, in the Error that is raised if no thread can be started
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()
    done: Future[T] = Future()
    done.add_done_callback(lambda done: pass_on(loop, done, outcome))

    def work() -> None:
        try:
            done.set_result(function())
        except BaseException as error:
            done.set_exception(error)

    try:
        threading.Thread(target=work, name="guestkit-control", daemon=True).start()
    except RuntimeError as error:
        raise _no_thread(op) from error
    return outcome


def pass_on(loop: asyncio.AbstractEventLoop, done: Future[T], outcome: asyncio.Future[T]) -> None:
    """Pass the result on to the loop's future; callable on any thread.

    Work that an executor has dropped is an error: nobody cancelled the task that waits.
    """

    def settle() -> None:
        if outcome.done():
            return
        if done.cancelled():
            outcome.set_exception(dropped())
        elif (error := done.exception()) is None:
            outcome.set_result(done.result())
        elif isinstance(error, StopIteration):  # which no future takes: it would never be done
            wrapped = RuntimeError("the function raised StopIteration")
            wrapped.__cause__ = error
            outcome.set_exception(wrapped)
        else:
            outcome.set_exception(error)

    post(loop, settle)


def post(
    loop: asyncio.AbstractEventLoop,
    function: Callable[..., object],
    *arguments: Any,
    context: Context | None = None,
) -> None:
    """Run the function on the loop soon; callable on any thread. If it raises, the loop's handler is told."""
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(function, *arguments, context=context)


def _forget() -> None:
    """Drop the executors: a forked child has none of their threads."""
    global _executor
    _executor = None
    _own.clear()


os.register_at_fork(after_in_child=_forget)
