"""`AsyncDiskConverter`: convert, create, resize and check disk images without blocking the event loop."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

from guestkit.aio.call import until_done
from guestkit.aio.events import posting
from guestkit.aio.executor import Errand, shared_executor
from guestkit.convert import DiskConverter, Progress, QemuImg
from guestkit.handle_options import Sandbox

P = ParamSpec("P")
T = TypeVar("T")


class _OneCall(DiskConverter):
    """A blocking converter for one call, which the loop's thread may cancel."""

    def __init__(self, op: str, sandbox: Sandbox) -> None:
        super().__init__(sandbox=sandbox)
        self._job = QemuImg(op, sandbox)
        self._post = posting()

    def _begin(self, op: str) -> QemuImg:
        return self._job

    def _telling(self, progress: Progress | None) -> Progress | None:
        return None if progress is None else functools.partial(self._post, progress)

    def cancel(self) -> None:
        self._job.cancel()


def _awaited(
    method: Callable[Concatenate[DiskConverter, P], T], *, to_its_end: bool = False
) -> Callable[Concatenate[AsyncDiskConverter, P], Coroutine[Any, Any, T]]:
    """Run the method on guestkit's threads. A cancel ends it, unless to_its_end, and waits for its end.

    While it waits for a thread, a cancel always keeps it from running.
    """

    @functools.wraps(method)
    async def call(self: AsyncDiskConverter, /, *arguments: P.args, **keywords: P.kwargs) -> T:
        one = _OneCall(method.__name__, self._sandbox)
        work = functools.partial(method, one, *arguments, **keywords)
        errand = Errand(shared_executor(), method.__name__, work)

        def cancel() -> None:
            if not errand.withdraw() and not to_its_end:
                one.cancel()

        return await until_done(errand.outcome, cancel)

    call.__qualname__ = f"AsyncDiskConverter.{method.__name__}"
    return call


class AsyncDiskConverter:
    """`DiskConverter` for asyncio: every method is a coroutine function with the same arguments.

    sandbox: as of `DiskConverter`

    A cancel kills qemu-img and removes what it has written; only then CancelledError is raised. `resize` and
    `check`, once they run, run to completion, even if cancelled. The progress of `convert` is called on the
    loop's thread.
    """

    def __init__(self, *, sandbox: Sandbox = "auto") -> None:
        self._sandbox = DiskConverter(sandbox=sandbox).sandbox

    convert = _awaited(DiskConverter.convert)
    detect_format = _awaited(DiskConverter.detect_format)
    get_info = _awaited(DiskConverter.get_info)
    create_disk = _awaited(DiskConverter.create_disk)
    resize = _awaited(DiskConverter.resize, to_its_end=True)
    check = _awaited(DiskConverter.check, to_its_end=True)
