"""A call on an `AsyncGuestfs`: its turn in the handle's queue, and how it is awaited and cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import Callable, Coroutine, Generator, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, NoReturn, TypeVar

from guestkit.aio.events import Progress
from guestkit.aio.executor import Errand
from guestkit.errors import Error
from guestkit.events import Event
from guestkit.handle import Guestfs

T = TypeVar("T")

_log = logging.getLogger("guestkit")

#: What a cancel does to a running call: "end" it, or "wait" until it finishes by itself. A call that no
#: thread has begun never runs, either way.
OnCancel = Literal["end", "wait"]


class Call(Coroutine[Any, Any, T], Generic[T]):
    """A call on an `AsyncGuestfs`, queued on the handle.

    It is a coroutine: await it, or pass it to `asyncio.gather`, `create_task` or `wait_for`. It runs when its
    turn comes, whether it is awaited or not; if nobody awaits it, its exception is logged. Cancelling the
    await takes back a call that no thread has begun. It ends a running call, and waits until that has ended.
    """

    def __init__(
        self,
        name: str,
        function: Callable[[Guestfs], T],
        cancel: Callable[[Call[Any]], object],
        progress: Callable[[int, int], object] | None = None,
        on_cancel: OnCancel = "end",
        alone: bool = True,
    ) -> None:
        if on_cancel not in ("end", "wait"):
            raise ValueError(f'{name}() argument \'on_cancel\' must be "end" or "wait", not {on_cancel!r}')
        if progress is not None and not callable(progress):
            raise TypeError(f"{name}() argument 'progress' must be callable, not {type(progress).__name__}")
        self.__name__ = name
        self.__qualname__ = f"AsyncGuestfs.{name}"
        self._end = cancel
        self._function = function
        self._on_cancel = on_cancel
        self._alone = alone
        self._context = contextvars.copy_context()
        self._progress = None if progress is None else Progress(progress)
        self._future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._timer: asyncio.TimerHandle | None = None  # the queue timeout
        self._errand: Errand[T] | None = None  # once it has left the handle's queue, until it has ended
        self._begun = False  # these three are guarded by the queue's _lock
        self._ended = False
        self._cancelled = False
        self._waiting: Coroutine[Any, Any, T] | None = None

    def __repr__(self) -> str:
        return f"<guestkit call {self.__name__} {'done' if self._future.done() else 'pending'}>"

    def __bool__(self) -> NoReturn:
        raise self._unawaited()

    if not TYPE_CHECKING:  # type checkers say by themselves that it is not iterable

        def __iter__(self):
            raise self._unawaited()

    def _unawaited(self) -> TypeError:
        """Return the error for whoever takes the call for its result: a condition would always hold."""
        return TypeError(f"{self.__qualname__}() has to be awaited: this is the call, not its result")

    def __await__(self) -> Generator[Any, Any, T]:
        return self._wait().__await__()

    def send(self, value: Any) -> Any:
        if self._waiting is None:
            self._waiting = self._wait()
        return self._waiting.send(value)

    def throw(self, kind: Any, value: Any = None, traceback: TracebackType | None = None) -> Any:
        if self._waiting is None:
            if isinstance(kind, asyncio.CancelledError):  # a task that was cancelled before its first step
                self._cancel()
                self._waiting = until_done(self._future, self._cancel, kind)
                return self._waiting.send(None)
            self.close()
            self._waiting = self._wait()
        if value is None and traceback is None:
            return self._waiting.throw(kind)
        return self._waiting.throw(kind, value, traceback)

    def succeeded(self) -> bool:
        """Return whether the call has returned, even if who awaited it was cancelled."""
        return self._future.done() and not self._future.cancelled() and self._future.exception() is None

    def close(self) -> None:
        if self._waiting is not None:
            self._waiting.close()
        elif not self._future.done():
            self._cancel()
            self._future.add_done_callback(take_notice)

    async def _wait(self) -> T:
        return await until_done(self._future, self._cancel)

    def _cancel(self) -> None:
        """Take the call back, or end it if it is running."""
        self._end(self)

    def _run(self, handle: Guestfs) -> T:
        """Run the call; on a thread of the executor."""
        if self._progress is None:
            return self._function(handle)
        number = handle.set_event_callback(self._progress.deliver, Event.PROGRESS)
        try:
            return self._function(handle)
        finally:
            with contextlib.suppress(Error):  # closed by the function, or killed
                handle.delete_event_callback(number)


async def until_done(
    future: asyncio.Future[T],
    on_cancel: Callable[[], object],
    cancelled: asyncio.CancelledError | None = None,
) -> T:
    """Wait until the future is done, even if the task is cancelled meanwhile, and return its result.

    on_cancel: called at each cancel; afterwards the cancellation is raised in place of the result
    cancelled: the cancellation that has come already
    """
    while not future.done():
        try:
            await asyncio.wait([future])  # shield would log the exception that a cancel brings (Python 3.14)
        except asyncio.CancelledError as error:
            cancelled = error
            on_cancel()
        except GeneratorExit:  # closed: nobody waits any more
            on_cancel()
            future.add_done_callback(take_notice)
            raise
    if cancelled is not None:
        take_notice(future)
        raise cancelled
    return future.result()


async def until_written(writing: asyncio.Future[T]) -> T:
    """Wait until the last writes to a disk are done, as `until_done`; log a failure that a cancel hides."""
    try:
        return await until_done(writing, lambda: None)
    except asyncio.CancelledError:
        if not writing.cancelled() and (error := writing.exception()) is not None:
            _log.warning("writing to the disk failed while a cancel was on its way", exc_info=error)
        raise


async def all_done(futures: Iterable[asyncio.Future[Any]]) -> None:
    """Wait until all futures are done, even if the task is cancelled meanwhile; that is raised afterwards.

    It neither tells nor retrieves how they ended.
    """
    rest = set(futures)
    cancelled: asyncio.CancelledError | None = None
    while rest:
        try:
            _, rest = await asyncio.wait(rest)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


def take_notice(future: asyncio.Future[Any]) -> None:
    """Mark the exception as retrieved: the error of a cancelled call is not worth a log line."""
    if not future.cancelled():
        future.exception()
