"""Transfers as streams of bytes, through a pipe that libguestfs uses like a file.

The pipe provides the back pressure: its writer waits while it is full, its reader while it is empty.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any

from guestkit.aio.call import Call, all_done, take_notice
from guestkit.errors import Error

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from guestkit.handle import Guestfs

#: What an upload reads from.
Source = AsyncIterable["ReadableBuffer"] | Iterable["ReadableBuffer"]

#: The capacity of the pipe, and so the largest chunk. Ordinary users may have pipes of this size.
CHUNK = 1024 * 1024

#: How often to look, while the source is silent, whether the transfer was stopped, in seconds.
_LOOK = 0.1

#: A transfer with the blocking handle, to or from the file of that name.
Transfer = Callable[["Guestfs", str], None]

#: Queues a function under that name on a handle.
Submit = Callable[[str, Callable[["Guestfs"], None]], "Call[None]"]


async def read(submit: Submit, name: str, transfer: Transfer) -> AsyncGenerator[bytes, None]:
    """Yield what the transfer writes; end the transfer if the caller stops early."""
    loop = asyncio.get_running_loop()
    reader, writer = _pipe()
    try:
        os.set_blocking(reader, False)
        call = _start(submit, name, transfer, writer)
    except BaseException:
        os.close(reader)
        raise
    try:
        while True:
            try:
                chunk = os.read(reader, CHUNK)
            except BlockingIOError:
                await _ready(loop.add_reader, loop.remove_reader, reader)
                continue
            if not chunk:
                break
            yield chunk
        await call
    finally:
        os.close(reader)  # wakes a transfer that waits for room
        await _end(call)


async def write(
    submit: Submit,
    was_stopped: Callable[[Call[None]], bool],
    name: str,
    transfer: Transfer,
    source: Source,
) -> None:
    """Feed the source to the transfer; end the transfer if the source fails or the caller is cancelled.

    was_stopped: whether a limit or `terminate` ends the call, which does not notice while it waits for data
    """
    reader, writer = _pipe()
    try:
        os.set_blocking(writer, False)
        call = _start(submit, name, transfer, reader)
    except BaseException:
        os.close(writer)
        raise
    feed = _Feed(writer, source)
    is_whole = False
    try:
        try:
            ends: list[asyncio.Future[Any]] = [feed.task, call._future]
            while not (feed.task.done() or call._future.done() or was_stopped(call)):
                await asyncio.wait(ends, timeout=_LOOK, return_when=asyncio.FIRST_COMPLETED)
            is_whole = feed.task.done() and feed.task.result()
        finally:  # before the call, whose grace its clean-up may exceed
            await feed.stop()
    except BaseException:
        call._cancel()
        os.close(writer)  # wakes a transfer that waits for data
        await _end(call)
        raise
    os.close(writer)
    await call
    if not is_whole:  # the transfer took the end of the data for that of the source
        raise Error(name, "cancelled", errno.EINTR)


class _Feed:
    """A task that writes a source into a pipe.

    In the end it ends the source, which the garbage collector would do much later. A source may catch a
    cancel and go on: what it yields after that is not written.
    """

    def __init__(self, writer: int, source: Source) -> None:
        self._writer = writer
        self._is_over = False  # nobody reads any more, or the task is to end
        self.task = asyncio.get_running_loop().create_task(self._run(source))

    async def _run(self, source: Source) -> bool:
        """Return whether all of the source was written."""
        async with contextlib.aclosing(_each(source)) as chunks:
            async for chunk in chunks:
                if not self._is_over:
                    await self._write(chunk)
                if self._is_over:
                    return False
        return True

    async def _write(self, chunk: ReadableBuffer) -> None:
        loop = asyncio.get_running_loop()
        rest = memoryview(chunk).cast("B")
        while rest:
            try:
                rest = rest[os.write(self._writer, rest) :]
            except BlockingIOError:
                await _ready(loop.add_writer, loop.remove_writer, self._writer)
            except BrokenPipeError:  # the transfer has ended, and its own error says why
                self._is_over = True
                return

    async def stop(self) -> None:
        """End the source, which may clean up, and wait for that, even if cancelled meanwhile."""
        if not self._is_over:  # else it cleans up already
            self._is_over = True
            self.task.cancel()
        # Its error was reported already, or why the transfer ended counts.
        self.task.add_done_callback(take_notice)
        await all_done([self.task])


def _pipe() -> tuple[int, int]:
    reader, writer = os.pipe()
    with contextlib.suppress(OSError):  # the user's pipe limit is reached: a small pipe will do
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, CHUNK)
    return reader, writer


def _start(submit: Submit, name: str, transfer: Transfer, end: int) -> Call[None]:
    """Queue the transfer; close its end of the pipe once it has ended or was removed from the queue."""
    try:
        call = submit(name, lambda handle: transfer(handle, f"/dev/fd/{end}"))
    except BaseException:
        os.close(end)
        raise
    call._future.add_done_callback(lambda future: os.close(end))
    return call


async def _end(call: Call[None]) -> None:
    """End the call and wait for it. Ignore its outcome: it was reported already, or nobody asks any more."""
    call._future.add_done_callback(take_notice)
    if not call._future.done():
        call._cancel()
        await all_done([call._future])


async def _ready(add: Callable[..., None], remove: Callable[[int], object], descriptor: int) -> None:
    ready = asyncio.Event()
    add(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        remove(descriptor)


async def _each(source: Source) -> AsyncGenerator[ReadableBuffer, None]:
    """Yield the chunks. When it is closed it ends a generator, but nothing else: a file stays open."""
    async with contextlib.AsyncExitStack() as end:
        if isinstance(source, AsyncIterable):
            if isinstance(pieces := aiter(source), AsyncGenerator):
                end.push_async_callback(pieces.aclose)
                source = pieces
            async for chunk in source:
                yield chunk
        else:
            if isinstance(parts := iter(source), Generator):
                end.callback(parts.close)
                source = parts
            for chunk in source:
                yield chunk
