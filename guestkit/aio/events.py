"""Events on an event loop, handed over from the threads that run the libguestfs calls."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextvars import copy_context
from functools import partial
from typing import NamedTuple, ParamSpec, Self

from guestkit.aio.executor import post
from guestkit.events import Event, EventCallback

P = ParamSpec("P")


class EventMessage(NamedTuple):
    """An event: its kind, its text (hostile: escape it) and its numbers."""

    event: Event
    text: str
    numbers: list[int]


class EventStream(AsyncIterator[EventMessage]):
    """The events of a handle as they come, for `async for`, until the handle is closed, or `aclose`.

    It buffers at most `maxsize` events. When one more arrives, the oldest is dropped and counted, so that
    libguestfs never waits for a slow reader. Of consecutive progress events only the newest is kept. A stream
    that nobody refers to any more gets no events.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, maxsize: int) -> None:
        if maxsize < 1:
            raise ValueError(f"events() argument 'maxsize' must be at least 1: {maxsize}")
        self._loop = loop
        self._lock = threading.Lock()
        self._messages: deque[EventMessage] = deque()
        self._maxsize = maxsize
        self._dropped = 0
        self._waking = False
        self._ended = False
        self._arrived = asyncio.Event()

    @property
    def dropped(self) -> int:
        """How many events were dropped because the reader was too slow."""
        return self._dropped

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> EventMessage:
        while True:
            with self._lock:
                if self._messages:
                    return self._messages.popleft()
                if self._ended:
                    raise StopAsyncIteration
                self._arrived.clear()
            await self._arrived.wait()

    async def aclose(self) -> None:
        """End it, and forget the events that it has."""
        with self._lock:
            self._messages.clear()
        self._end()

    def _listener(self, unregister: Callable[[int], object]) -> EventCallback:
        """Return the handle's callback, which does not keep the stream alive and, after its end, goes."""
        whose = weakref.ref(self)

        def deliver(event: Event, number: int, text: str, numbers: list[int]) -> None:
            stream = whose()
            if stream is None or stream._ended:
                unregister(number)
            else:
                stream._deliver(event, text, numbers)

        return deliver

    def _deliver(self, event: Event, text: str, numbers: list[int]) -> None:
        """On the thread of the call."""
        message = EventMessage(event, text, numbers)
        with self._lock:
            if event == Event.PROGRESS and self._messages and self._messages[-1].event == Event.PROGRESS:
                self._messages[-1] = message
            else:
                if len(self._messages) == self._maxsize:
                    self._messages.popleft()
                    self._dropped += 1
                self._messages.append(message)
            self._wake()

    def _end(self) -> None:
        with self._lock:
            self._ended = True
            self._wake()

    def _wake(self) -> None:
        """Wake the loop; one wake-up serves all events that arrive before it runs."""
        if self._waking:
            return
        self._waking = True
        post(self._loop, self._woken)

    def _woken(self) -> None:
        with self._lock:
            self._waking = False
        self._arrived.set()


def posting() -> Callable[..., None]:
    """Return `post` for the current loop and context."""
    return partial(post, asyncio.get_running_loop(), context=copy_context())


def on_loop(op: str, argument: str, callback: Callable[P, object]) -> Callable[P, None]:
    """Return a function that runs the callback on the current loop. Raise TypeError if it is not callable."""
    if not callable(callback):
        raise TypeError(f"{op}() argument '{argument}' must be callable, not {type(callback).__name__}")
    tell = posting()

    def deliver(*arguments: P.args, **_: P.kwargs) -> None:
        tell(callback, *arguments)

    return deliver


class Progress:
    """Runs a callback on the current loop with the newest position and total of the running call."""

    def __init__(self, callback: Callable[[int, int], object]) -> None:
        self._post = posting()
        self._callback = callback
        self._lock = threading.Lock()
        self._newest: tuple[int, int] | None = None

    def deliver(self, event: Event, number: int, text: str, numbers: list[int]) -> None:
        """On the thread of the call."""
        with self._lock:
            waiting, self._newest = self._newest is not None, (numbers[2], numbers[3])
        if not waiting:
            self._post(self._run)

    def _run(self) -> None:
        with self._lock:
            newest, self._newest = self._newest, None
        if newest is not None:
            self._callback(*newest)
