"""The queue of one `AsyncGuestfs`: its calls wait there for their turn, and run one at a time on threads."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from guestkit.aio.call import Call, take_notice
from guestkit.aio.executor import Errand, Pool, shared_executor
from guestkit.errors import CallTimeout, Error, HandleClosed
from guestkit.events import Event, EventCallback
from guestkit.handle import Guestfs
from guestkit.handle_options import HandleOptions

T = TypeVar("T")

#: The calls that start an appliance; `run` may, too. `inspect` is not among them: it uses one that already
#: runs, and must not wait for launches.
_LAUNCHES = frozenset({"launch", "inspect_disks"})

#: The call that lasts until somebody unmounts a directory. It does not hold up the queue: the handle refuses
#: the calls behind it, which would wait for ever, and closing it unmounts the directory.
_SERVING = "mount_local_run"


class CallQueue:
    """Runs calls in the order in which they were put, each with the blocking handle's turn.

    Its methods belong to the thread of the loop, but for `terminate` and those that run calls.

    Attributes:
        handle: the blocking handle, which the first call makes; None before, and once it was taken away
        is_terminated: whether `terminate` was called; no call begins from then on
    """

    def __init__(self, options: HandleOptions, executor: Executor | None) -> None:
        """executor: None for the process' executors."""
        self.handle: Guestfs | None = None
        self.is_terminated = False
        self._options = replace(options, queue_timeout=None)  # the queue is here: the handle has none
        self._timeout = options.queue_timeout
        self._executor = executor
        self._waiting: deque[Call[Any]] = deque()
        self._sent: set[Call[Any]] = set()  # to the executor, where they wait for a thread, or run
        self._running: Call[Any] | None = None  # the one of them that the queue waits for
        self._when_drained: Callable[[], object] | None = None
        self._making = threading.Lock()
        self._is_over = False  # no handle may be made any more
        self._listeners: list[tuple[EventCallback, int]] = []  # to register when the handle is made
        # terminate() may interrupt the thread that has it, from a signal's handler.
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, call: Call[Any]) -> None:
        self._waiting.append(call)
        if self._timeout is not None:
            call._timer = asyncio.get_running_loop().call_later(self._timeout, self._expire, call)
        self._next()

    def cancel(self, call: Call[Any]) -> None:
        """Take a waiting call back, or end it if it is running."""
        if self._withdraw(call):
            call._future.cancel()
        elif not call._future.done() and call._on_cancel == "end":
            call._future.add_done_callback(take_notice)
            with self._lock:
                call._cancelled = True
                # Never after the call has ended: that would cancel the next one.
                if call._begun and not call._ended and self.handle is not None:
                    self.handle.cancel()

    def cancel_all(self) -> None:
        for call in [*self._waiting, *self._sent]:
            self.cancel(call)

    def was_stopped(self, call: Call[Any]) -> bool:
        """Return whether a limit or `terminate` ends the call, which is running."""
        with self._lock:
            if not call._begun or call._ended or self.handle is None:
                return False
            try:
                self.handle._check_turn()  # raises why the turn is to end
            except Error:
                return True
            return False

    def drain(self, then: Callable[[], object]) -> None:
        """Call a function once, when all calls have ended. No call may be put from now on."""
        self._when_drained = then
        self._next()

    def terminate(self) -> None:
        """Kill the handle's hypervisor; on any thread, even in a signal's handler. Then call `abandon`."""
        with self._lock:
            self.is_terminated = True
            handle = self.handle
        if handle is not None:
            handle.terminate()

    def abandon(self) -> None:
        """Refuse the calls that have not begun."""
        for call in [*self._waiting, *self._sent]:
            if self._withdraw(call):
                call._future.set_exception(_too_late(call.__name__, "terminated"))

    def listen(self, listener: EventCallback, events: Event | int) -> None:
        """Register an event callback, which runs on the threads of the calls."""
        with self._lock:  # the handle might be made at this moment
            if self.handle is None:
                self._listeners.append((listener, int(events)))
            else:
                self.handle.set_event_callback(listener, events)

    def made(self, op: str) -> Guestfs:
        """Return the handle, and make it if there is none; on any thread but the loop's."""
        with self._making:
            if self.handle is None:
                self._make(op)
            assert self.handle is not None
            return self.handle

    def close(self) -> None:
        """Close the handle, or see to it that none is made; on any thread but the loop's."""
        with self._making:
            self._is_over = True
        if self.handle is not None:
            self.handle.close()

    def take_handle(self) -> Guestfs | None:
        """Take the handle away from a queue that gets no more calls."""
        handle, self.handle, self._is_over = self.handle, None, True
        return handle

    def _next(self) -> None:
        """Start the next call, unless one is running."""
        if self._running is not None:
            return
        if not self._waiting:
            then, self._when_drained = self._when_drained, None
            if then is not None:
                then()
            return
        call = self._waiting.popleft()
        self._sent.add(call)
        if call.__name__ != _SERVING:
            self._running = call
        executor = self._executor or shared_executor(self._pool(call.__name__))
        try:
            work = partial(call._context.run, self._work, call)
            call._errand = Errand(executor, call.__name__, work)
            outcome = call._errand.outcome
        except RuntimeError as error:  # the executor was shut down, or can start no thread
            outcome = asyncio.get_running_loop().create_future()
            outcome.set_exception(error)
        outcome.add_done_callback(lambda outcome: self._ended(call, outcome))
        if self._running is None:
            self._next()

    def _pool(self, name: str) -> Pool:
        if name == "run" and (self.handle is None or self.handle.last_launch() is None):
            return "guestkit-run"
        return "guestkit-launch" if name in _LAUNCHES else "guestkit"

    def _ended(self, call: Call[T], outcome: asyncio.Future[T]) -> None:
        self._sent.discard(call)
        if self._running is call:
            self._running = None
        call._errand = None  # which refers to the call
        if call._timer is not None:
            call._timer.cancel()
        if call._future.done():  # withdrawn
            take_notice(outcome)
        elif (error := outcome.exception()) is not None:
            call._future.set_exception(error)
        else:
            call._future.set_result(outcome.result())
        self._next()

    def _withdraw(self, call: Call[Any]) -> bool:
        """Take back a call that has not begun: to wait for a thread or a turn only to refuse it helps nobody.

        Return whether that was so; then the call's future is left to settle.
        """
        if call in self._waiting:
            self._waiting.remove(call)
            if call._timer is not None:
                call._timer.cancel()
            return True
        if call._errand is None or call._future.done():
            return False
        if call._errand.withdraw():
            return True
        with self._lock:
            if not call._begun:  # its thread waits for the handle's turn, and will find it taken back
                call._cancelled = True
            return not call._begun

    def _expire(self, call: Call[Any]) -> None:
        """Fail the call, unless it has begun: it has waited too long for its turn or for a thread."""
        if not self._withdraw(call):
            return
        seconds = self._timeout or 0.0
        message = f"waited longer than {seconds:g} s for its turn (queue_timeout); it did not run"
        error = CallTimeout(call.__name__, message, errno.ETIMEDOUT, seconds, "queue_timeout")
        call._future.set_exception(error)

    # ---- on a thread of the executor

    def _work(self, call: Call[T]) -> T:
        """Run the call; one call per handle at a time."""
        handle = self.made(call.__name__)
        if call._alone:
            handle._begin_turn(call.__name__)
        try:
            with self._lock:
                if call._cancelled:  # since the thread took it
                    raise Error(call.__name__, "cancelled", errno.EINTR)
                call._begun = True
            return call._run(handle)
        finally:
            with self._lock:
                call._ended = True
            if call._alone:
                handle._end_turn()

    def _make(self, op: str) -> None:
        if self.is_terminated or self._is_over:  # a second handle would have none of its disks
            raise _too_late(op, "terminated" if self.is_terminated else "closed")
        handle = Guestfs(self._options)
        with self._lock:
            self.handle = handle
            if self.is_terminated:
                handle.terminate()
            for callback, events in self._listeners:
                handle.set_event_callback(callback, events)
            self._listeners.clear()


def _too_late(op: str, what: str) -> HandleClosed:
    return HandleClosed(op, f"the handle was {what} before the call's turn", errno.EBADF)
