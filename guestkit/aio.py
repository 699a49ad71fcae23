"""`AsyncGuestfs`: the handle for asyncio.

libguestfs blocks, so every call runs on a thread of one executor, never on the event loop's. In front of the
executor stands a queue for each handle: calls run in the order in which they were made, and a handle holds
one thread at most, so that a busy handle starves no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import errno
import logging
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Executor
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from guestkit._async_actions import AsyncActions
from guestkit._executor import set_executor, shared_executor, thread_based
from guestkit.errors import HandleClosed
from guestkit.events import Event, EventCallback
from guestkit.handle import Accel, Guestfs

__all__ = ["AsyncGuestfs", "Call", "set_executor"]

T = TypeVar("T")

log = logging.getLogger("guestkit")

#: A cancel is lost when it comes just before a transfer starts, so it is sent again, in seconds.
CANCEL_INTERVAL = 0.03


class Call(Coroutine[Any, Any, T], Generic[T]):
    """A call on an `AsyncGuestfs` that has its place in the handle's queue.

    A coroutine: await it, give it to `asyncio.gather`, `create_task`, `wait_for`. It runs when its turn
    comes, awaited or not; the exception of one that nobody awaits is logged. Cancelling the await of a call
    that waits takes it out of the queue; of one that runs, tells libguestfs to stop and waits until it has.
    """

    def __init__(self, owner: AsyncGuestfs, name: str, function: Callable[[Guestfs], T]) -> None:
        self.__name__ = name
        self.__qualname__ = f"AsyncGuestfs.{name}"
        self._owner = owner
        self._function = function
        self._context = contextvars.copy_context()
        self._future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._ended = False  # guarded by the owner's _cancel_lock
        self._waiting: Coroutine[Any, Any, T] | None = None

    def __repr__(self) -> str:
        return f"<guestkit call {self.__name__} {'done' if self._future.done() else 'pending'}>"

    def __await__(self) -> Generator[Any, Any, T]:
        return self._wait().__await__()

    def send(self, value: Any) -> Any:
        if self._waiting is None:
            self._waiting = self._wait()
        return self._waiting.send(value)

    def throw(self, kind: Any, value: Any = None, traceback: TracebackType | None = None) -> Any:
        if self._waiting is None:  # a task that was cancelled before its first step
            self._owner._cancel(self)
            self._waiting = self._wait()
        if value is None and traceback is None:
            return self._waiting.throw(kind)
        return self._waiting.throw(kind, value, traceback)

    def close(self) -> None:
        if self._waiting is None:
            self._owner._cancel(self)
        else:
            self._waiting.close()

    async def _wait(self) -> T:
        await _until_done(self._future, lambda: self._owner._cancel(self))
        return self._future.result()


async def _until_done(future: asyncio.Future[Any], on_cancel: Callable[[], object]) -> None:
    """Wait for the future however often the waiting task is cancelled; raise the cancellation afterwards."""
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.shield(future)
        except asyncio.CancelledError as error:
            cancelled = error
            on_cancel()
        except BaseException:  # the future's own exception: the caller takes it from there
            break
    if cancelled is not None:
        if not future.cancelled():
            future.exception()  # taken notice of: a cancelled call's error is not worth a log line
        raise cancelled


class AsyncGuestfs(AsyncActions):
    """A libguestfs handle whose calls are awaited: every action of `Guestfs`, with the same arguments.

        async with AsyncGuestfs() as g:
            await g.add_drive_ro("disk.qcow2")
            await g.launch()
            for root in await g.inspect_os():
                print(await g.inspect_get_product_name(root))

    A call takes its place in the handle's queue when it is made, not when it is awaited. A handle belongs to
    the event loop of its first call and must be used on that loop's thread.
    """

    _handle: Guestfs | None = None  # made by the first call; here for __del__ after a failed __init__

    def __init__(
        self, *, environment: bool = True, accel: Accel = "auto", executor: Executor | None = None
    ) -> None:
        """Prepare a handle; libguestfs' own is created by the first call.

        environment, accel: as in `Guestfs`
        executor: where this handle's calls run, instead of on the process' executor (`set_executor`)
        """
        self._environment = environment
        self._accel = accel
        self._executor = executor if executor is None else thread_based(executor)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queue: deque[Call[Any]] = deque()
        self._running: Call[Any] | None = None
        self._closed: asyncio.Future[None] | None = None
        self._cancel_lock = threading.Lock()

    def __repr__(self) -> str:
        state = "open" if self._closed is None else "closed" if self._closed.done() else "closing"
        return f"<guestkit.{type(self).__name__} {state}, {len(self._queue)} calls waiting>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            await self.close()
            return
        self._cancel_all()
        try:
            await self.close()
        except Exception:  # the body's own exception wins
            log.warning("closing a handle failed while an exception was on its way", exc_info=True)

    def __del__(self) -> None:
        handle = self._handle
        if handle is None or not handle.is_open():
            return
        warnings.warn(f"{self!r} was never closed", ResourceWarning, stacklevel=2, source=self)
        # Closing waits for the hypervisor: not in the collector, which runs on anybody's thread. While the
        # interpreter ends no thread can start; then the handle's own exit function closes it.
        with contextlib.suppress(RuntimeError):
            threading.Thread(target=handle.close, name="guestkit-reaper", daemon=True).start()

    def run(self, function: Callable[[Guestfs], T]) -> Call[T]:
        """Run a function of the blocking handle in the handle's turn: many calls for one hop between threads.

        The function runs on a thread of the executor and must not keep the handle.
        """
        return self._submit("run", function)

    def set_event_callback(
        self, callback: EventCallback, events: Event | int = Event.ALL
    ) -> Coroutine[Any, Any, int]:
        """Have callback run on the event loop at each of these events; the number of the registration.

        Events arrive in order, a moment after libguestfs sent them. What the callback raises goes to the
        loop's exception handler.
        """
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()

        def deliver(event: Event, number: int, text: str, numbers: list[int]) -> None:
            # The loop may be closed before the handle is.
            if not loop.is_closed():
                loop.call_soon_threadsafe(callback, event, number, text, numbers, context=context)

        return self._submit("set_event_callback", lambda handle: handle.set_event_callback(deliver, events))

    def delete_event_callback(self, number: int) -> Coroutine[Any, Any, None]:
        """End the registration of that number."""
        return self._submit("delete_event_callback", lambda handle: handle.delete_event_callback(number))

    async def user_cancel(self) -> None:
        """Tell the upload or download that is running to stop: at once, without a place in the queue."""
        if self._handle is not None:
            await self._in_thread(self._handle.user_cancel)

    async def close(self) -> None:
        """Let the calls that were made run to their end, then end the appliance and free the handle.

        From here on new calls raise HandleClosed. Closing twice is harmless, and a second close waits for
        the first. A cancel does not stop it: it is raised when the handle is closed.
        """
        loop = self._bind("close")
        if self._closed is None:
            self._closed = loop.create_future()
            self._next()
        await _until_done(self._closed, lambda: None)
        self._closed.result()

    def _submit(self, name: str, function: Callable[[Guestfs], T]) -> Call[T]:
        self._bind(name)
        if self._closed is not None:
            raise HandleClosed(name, "the handle is closed", errno.EBADF)
        call = Call(self, name, function)
        self._queue.append(call)
        self._next()
        return call

    def _bind(self, name: str) -> asyncio.AbstractEventLoop:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(f"AsyncGuestfs.{name}() needs a running event loop") from None
        if self._loop is None:
            self._loop = loop
        if self._loop is not loop:
            raise RuntimeError(f"AsyncGuestfs.{name}(): the handle belongs to another event loop")
        return loop

    def _next(self) -> None:
        """Start the next call if none runs; when there is none and close() was called, close."""
        if self._running is not None:
            return
        if not self._queue:
            if self._closed is not None:
                self._finish(self._closed)
            return
        assert self._loop is not None
        self._running = call = self._queue.popleft()
        try:
            outcome = self._loop.run_in_executor(
                self._executor or shared_executor(), call._context.run, self._work, call
            )
        except RuntimeError as error:  # the executor was shut down
            outcome = self._loop.create_future()
            outcome.set_exception(error)
        outcome.add_done_callback(lambda outcome: self._ended(call, outcome))

    def _work(self, call: Call[T]) -> T:
        """On a thread of the executor, one call of this handle at a time."""
        try:
            if self._handle is None:
                self._handle = Guestfs(environment=self._environment, accel=self._accel)
            return call._function(self._handle)
        finally:
            with self._cancel_lock:
                call._ended = True

    def _ended(self, call: Call[T], outcome: asyncio.Future[T]) -> None:
        self._running = None
        if outcome.cancelled():
            call._future.cancel()
        elif (error := outcome.exception()) is not None:
            call._future.set_exception(error)
        else:
            call._future.set_result(outcome.result())
        self._next()

    def _cancel(self, call: Call[Any]) -> None:
        """Take a waiting call out of the queue; have libguestfs stop the one that is running."""
        if call is not self._running:
            if call in self._queue:
                self._queue.remove(call)
            call._future.cancel()
        elif (handle := self._handle) is not None:
            threading.Thread(
                target=self._keep_cancelling, args=(handle, call), name="guestkit-cancel", daemon=True
            ).start()

    def _keep_cancelling(self, handle: Guestfs, call: Call[Any]) -> None:
        while True:
            with self._cancel_lock:  # never after the call's end: it would hit the next one
                if call._ended:
                    return
                handle.user_cancel()
            time.sleep(CANCEL_INTERVAL)

    def _cancel_all(self) -> None:
        for call in [*self._queue, *([self._running] if self._running is not None else [])]:
            self._cancel(call)

    def _finish(self, closed: asyncio.Future[None]) -> None:
        """Close the C handle on a thread of its own: it must not wait for a free one of the pool."""
        if self._handle is None:
            if not closed.done():
                closed.set_result(None)
            return
        outcome = self._in_thread(self._handle.close)
        outcome.add_done_callback(lambda outcome: _pass_on(outcome, closed))

    def _in_thread(self, function: Callable[[], T]) -> asyncio.Future[T]:
        assert self._loop is not None
        loop = self._loop
        future: asyncio.Future[T] = loop.create_future()

        def work() -> None:
            try:
                result = function()
            except BaseException as error:
                settle(future.set_exception, error)
            else:
                settle(future.set_result, result)

        def settle(setter: Callable[[Any], None], value: Any) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(lambda: None if future.done() else setter(value))

        threading.Thread(target=work, name="guestkit-control", daemon=True).start()
        return future


def _pass_on(outcome: asyncio.Future[None], target: asyncio.Future[None]) -> None:
    if target.done():
        return
    if (error := outcome.exception()) is not None:
        target.set_exception(error)
    else:
        target.set_result(None)
