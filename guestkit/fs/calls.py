"""Calls that take many turns of the handle: where the disk is written to, a close is the end of them.

Else the next turn would launch another appliance, for a disk that whoever closed it takes for complete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

from guestkit._text import printable
from guestkit.errors import HandleClosed

if TYPE_CHECKING:
    from guestkit.fs.filesystem import GuestFileSystem

F = TypeVar("F", bound=Callable[..., Any])


class _Call:
    """A call that runs. The tasks that are made meanwhile have it in their contexts, and may outlive it.

    Attributes:
        fs: whose call it is; None: it has ended
        closes: how often that filesystem had been closed when the call began
    """

    def __init__(self, fs: GuestFileSystem) -> None:
        self.fs: GuestFileSystem | None = fs
        self.closes = fs._closes


_call: ContextVar[_Call | None] = ContextVar("guestkit_fs_call", default=None)


def one_call(method: F) -> F:
    """Have the turns of an awaited method, and those of the methods that it calls, be one call."""

    @wraps(method)
    async def call(self: GuestFileSystem, *arguments: Any, **keywords: Any) -> Any:
        before = _call.get()
        if before is not None and before.fs is self:
            return await method(self, *arguments, **keywords)
        this = _Call(self)
        _call.set(this)
        try:
            return await method(self, *arguments, **keywords)
        finally:
            this.fs = None
            _call.set(before)

    return cast("F", call)


def check_not_closed(fs: GuestFileSystem) -> None:
    """Raise HandleClosed if a filesystem that is written to was closed since the call began."""
    call = _call.get()
    if call is not None and call.fs is fs:
        check_closes(fs, call.closes)


def check_closes(fs: GuestFileSystem, closes: int) -> None:
    """Raise HandleClosed if a filesystem that is written to was closed more often than that."""
    if closes != fs._closes and not fs.readonly:
        raise HandleClosed(
            "run", "the filesystem was closed while this call ran: what it had still to do is not done"
        )


@contextmanager
def copy_of(path: str) -> Iterator[None]:
    """Have HandleClosed name the file of which only a part is copied."""
    try:
        yield
    except HandleClosed as error:
        told = f"{printable(path)}: its copy is incomplete: {error.message}"
        raise HandleClosed(error.op, told, error.errno) from error
