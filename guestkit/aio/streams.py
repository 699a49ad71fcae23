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
from typing import TYPE_CHECKING

from guestkit.aio.call import Call, take_notice
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
    loop = asyncio.get_running_loop()
    reader, writer = _pipe()
    try:
        os.set_blocking(writer, False)
        call = _start(submit, name, transfer, reader)
    except BaseException:
        os.close(writer)
        raise
    feeding = loop.create_task(_feed(loop, writer, source))
    is_whole = False
    try:
        try:
            while not (feeding.done() or call._future.done() or was_stopped(call)):
                await asyncio.wait(
                    [feeding, call._future], timeout=_LOOK, return_when=asyncio.FIRST_COMPLETED
                )
            is_whole = feeding.done()
            if is_whole:
                feeding.result()
        finally:  # before the call, whose grace its clean-up may exceed
            await _stop(feeding)
    except BaseException:
        call._cancel()
        os.close(writer)  # wakes a transfer that waits for data
        await _end(call)
        raise
    os.close(writer)
    await call
    if not is_whole:  # the transfer took the end of the data for that of the source
        raise Error(name, "cancelled", errno.EINTR)


async def _stop(feeding: asyncio.Task[None]) -> None:
    """End the source, which may clean up, and wait for that, even if cancelled meanwhile."""
    feeding.cancel()
    cancelled: asyncio.CancelledError | None = None
    while not feeding.done():
        try:
            await asyncio.wait([feeding])
        except asyncio.CancelledError as error:
            cancelled = error
    take_notice(feeding)  # it was reported already, or why the transfer ended counts
    if cancelled is not None:
        raise cancelled


async def _feed(loop: asyncio.AbstractEventLoop, writer: int, source: Source) -> None:
    """Write the source into the pipe; end the source, which the garbage collector would do much later."""
    async with contextlib.aclosing(_each(source)) as chunks:
        async for chunk in chunks:
            await _write(loop, writer, chunk)


async def _write(loop: asyncio.AbstractEventLoop, writer: int, chunk: ReadableBuffer) -> None:
    """Write the chunk into the pipe. If nobody reads any more, wait to be cancelled."""
    rest = memoryview(chunk).cast("B")
    while rest:
        try:
            rest = rest[os.write(writer, rest) :]
        except BlockingIOError:
            await _ready(loop.add_writer, loop.remove_writer, writer)
        except BrokenPipeError:  # the transfer has ended, and its own error says why
            await loop.create_future()


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
    if not call._future.done():
        call._cancel()
        await asyncio.wait([call._future])
    take_notice(call._future)


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
            pieces = aiter(source)
            if isinstance(pieces, AsyncGenerator):
                end.push_async_callback(pieces.aclose)
            async for chunk in pieces:
                yield chunk
        else:
            parts = iter(source)
            if isinstance(parts, Generator):
                end.callback(parts.close)
            for chunk in parts:
                yield chunk
