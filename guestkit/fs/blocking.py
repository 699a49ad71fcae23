"""The blocking methods: each runs its awaited twin on the filesystem's loop, until it ends or is interrupted.

fsspec's own leave the twin running if they are interrupted: after Ctrl-C, a `put` would go on to write.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable, Iterator
from functools import wraps
from typing import Any, TypeVar

from fsspec import AbstractFileSystem  # type: ignore[import-untyped]
from fsspec.asyn import AsyncFileSystem  # type: ignore[import-untyped]
from fsspec.exceptions import FSTimeoutError  # type: ignore[import-untyped]

from guestkit.aio.call import take_notice

T = TypeVar("T")

C = TypeVar("C", bound=type)


def run_on(
    loop: asyncio.AbstractEventLoop | None,
    function: Callable[..., Awaitable[T]],
    *arguments: Any,
    timeout: float | None = None,
    **keywords: Any,
) -> T:
    """Await a call on a loop that another thread runs, and return its result: as fsspec's `sync`.

    What is raised in this thread meanwhile, as by Ctrl-C, cancels the call, and goes on once the call has
    ended. A second Ctrl-C does not wait for that.

    timeout: in seconds; None or 0: none. After it, the call is cancelled, and FSTimeoutError is raised
    """
    if loop is None or loop.is_closed():
        raise RuntimeError("a filesystem with asynchronous=True has no blocking methods: await its others")
    if asyncio._get_running_loop() is loop:
        raise RuntimeError("a blocking method cannot run on the loop that it waits for: await its twin")
    tasks: list[asyncio.Task[T]] = []
    ended = threading.Event()

    async def run() -> T:
        async with asyncio.timeout(timeout or None):
            return await function(*arguments, **keywords)

    def begin() -> None:
        tasks.append(loop.create_task(run()))
        tasks[0].add_done_callback(lambda task: ended.set())

    def cancel() -> None:
        if not tasks:  # interrupted before it was handed over
            ended.set()
        for task in tasks:
            task.cancel()
            task.add_done_callback(take_notice)

    try:
        loop.call_soon_threadsafe(begin)
        ended.wait()
    except BaseException:
        loop.call_soon_threadsafe(cancel)
        ended.wait()
        raise
    try:
        return tasks[0].result()
    except TimeoutError as error:
        raise FSTimeoutError from error


def blocking(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return the blocking twin of an awaited method, or of one that generates."""
    name = method.__name__

    @wraps(method)
    def call(self: Any, *arguments: Any, **keywords: Any) -> Any:
        return run_on(self.loop, getattr(self, name), *arguments, **keywords)

    @wraps(method)
    def generate(self: Any, *arguments: Any, **keywords: Any) -> Iterator[Any]:
        found = getattr(self, name)(*arguments, **keywords)
        while True:
            try:
                yield run_on(self.loop, found.__anext__)
            except StopAsyncIteration:
                return

    return generate if inspect.isasyncgenfunction(method) else call


def with_blocking_twins(cls: C) -> C:
    """Give the class a blocking twin of each awaited method that fsspec knows, unless it has one itself."""
    for name in dir(AsyncFileSystem):
        method, public = getattr(cls, name), name[1:]
        is_awaited = inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method)
        if is_awaited and public in dir(AbstractFileSystem):
            inherited = getattr(AbstractFileSystem, public)
            if getattr(cls, public) is inherited:
                twin = blocking(method)
                twin.__doc__ = method.__doc__ or inherited.__doc__
                setattr(cls, public, twin)
    return cls
