"""`AsyncDiskConverter`: convert, create, resize and check disk images without blocking the event loop."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

from guestkit.aio.call import until_done
from guestkit.aio.events import on_loop
from guestkit.aio.executor import Errand, shared_executor
from guestkit.convert import DiskConverter
from guestkit.handle_options import Sandbox

P = ParamSpec("P")
T = TypeVar("T")


def _awaited(
    method: Callable[Concatenate[DiskConverter, P], T],
) -> Callable[Concatenate[AsyncDiskConverter, P], Coroutine[Any, Any, T]]:
    """Run the method on guestkit's threads. A cancel ends it, and waits until it has ended.

    While it waits for a thread, a cancel keeps it from running.
    """
    name, signature = method.__name__, inspect.signature(method)

    @functools.wraps(method)
    async def call(self: AsyncDiskConverter, /, *arguments: P.args, **keywords: P.kwargs) -> T:
        one = DiskConverter(sandbox=self._sandbox, timeout=self._timeout)  # to cancel this call and no other
        given = signature.bind(one, *arguments, **keywords)
        if (progress := given.arguments.get("progress")) is not None:
            given.arguments["progress"] = on_loop(name, "progress", progress)
        errand = Errand(shared_executor(), name, functools.partial(method, *given.args, **given.kwargs))

        def cancel() -> None:
            if not errand.withdraw():
                one._cancelled = True

        return await until_done(errand.outcome, cancel)

    call.__qualname__ = f"AsyncDiskConverter.{name}"
    return call


class AsyncDiskConverter:
    """`DiskConverter` for asyncio: every method is a coroutine function with the same arguments.

    sandbox, timeout: as of `DiskConverter`; the time that a call waits for a thread does not count

    A cancel kills qemu-img and removes what it has written; only then CancelledError is raised. What writes
    to an image itself, `resize` and a repair, runs to completion once it runs, even if cancelled: only the
    timeout ends it. The progress of `convert` is called on the loop's thread.
    """

    def __init__(self, *, sandbox: Sandbox = "auto", timeout: float | None = None) -> None:
        checked = DiskConverter(sandbox=sandbox, timeout=timeout)
        self._sandbox, self._timeout = checked.sandbox, checked.timeout

    convert = _awaited(DiskConverter.convert)
    detect_format = _awaited(DiskConverter.detect_format)
    get_info = _awaited(DiskConverter.get_info)
    create_disk = _awaited(DiskConverter.create_disk)
    resize = _awaited(DiskConverter.resize)
    check = _awaited(DiskConverter.check)
