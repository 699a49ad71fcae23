"""A drop-in for libguestfs' own Python module: `import guestkit.compat as guestfs`.

It has the same names, arguments and results, but does not freeze other threads: every call releases the GIL.
docs/coming-from-python-guestfs.md lists the differences. New code should use `guestkit.Guestfs`.
"""

from __future__ import annotations

import functools
import operator
import os
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any

from guestkit import _native
from guestkit.errors import Error, HandleClosed
from guestkit.events import Event
from guestkit.generated.former import ALIASES, BOOLS, BUFFERS, HASHTABLES
from guestkit.handle import Guestfs

EVENT_CLOSE = int(Event.CLOSE)
EVENT_SUBPROCESS_QUIT = int(Event.SUBPROCESS_QUIT)
EVENT_LAUNCH_DONE = int(Event.LAUNCH_DONE)
EVENT_PROGRESS = int(Event.PROGRESS)
EVENT_APPLIANCE = int(Event.APPLIANCE)
EVENT_LIBRARY = int(Event.LIBRARY)
EVENT_TRACE = int(Event.TRACE)
EVENT_ENTER = int(Event.ENTER)
EVENT_LIBVIRT_AUTH = int(Event.LIBVIRT_AUTH)
EVENT_WARNING = int(Event.WARNING)
EVENT_ALL = int(Event.ALL)

ClosedHandle = HandleClosed

EventCallback = Callable[[int, int, Any, list[int]], object]

#: The events with a text, bytes since libguestfs 1.52 and str before; for all others upstream passes None.
_WITH_TEXT = EVENT_APPLIANCE | EVENT_LIBRARY | EVENT_TRACE | EVENT_ENTER | EVENT_LIBVIRT_AUTH | EVENT_WARNING


def event_to_string(events: int) -> str:
    """Return the names of the events, in alphabetical order, with commas between them."""
    names = (str(event.name).lower() for event in Event if event is not Event.ALL and event & events)
    return ",".join(sorted(names))


class GuestFS(Guestfs):
    """A libguestfs handle with the interface of libguestfs' own Python module.

    Bools are returned as ints, and hashtables as lists of pairs unless python_return_dict is set.
    """

    def __init__(
        self, python_return_dict: bool = False, environment: bool = True, close_on_exit: bool = True
    ) -> None:
        """Create a handle.

        python_return_dict: return hashtables as dicts
        environment, close_on_exit: as in `guestkit.Guestfs`
        """
        super().__init__(environment=bool(environment), close_on_exit=bool(close_on_exit))
        self._python_return_dict = python_return_dict
        version = self.version()
        self._texts_as_bytes = (version["major"], version["minor"]) >= (1, 52)
        # Otherwise traces and temporary files would carry the name "python".
        self.set_program(os.path.basename(sys.argv[0]) if sys.argv else "python")

    def close(self) -> None:
        """Shut the appliance down and free the handle; raise ClosedHandle if it is already closed."""
        if not self.is_open():
            raise ClosedHandle("close", "the handle is closed")
        super().close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.is_open():
            self.close()

    def set_event_callback(self, cb: EventCallback, event_bitmask: int) -> int:  # type: ignore[override]
        """Run cb(event, event_handle, buf, array) at each of these EVENT_* flags; return its handle."""
        if not callable(cb):
            raise TypeError("callback parameter is not callable")

        as_bytes = self._texts_as_bytes  # the callback must not keep the handle

        def deliver(event: int, number: int, text: str, numbers: list[int]) -> None:
            shown = text.encode(errors="surrogateescape") if as_bytes else text
            cb(event, number, shown if event & _WITH_TEXT else None, numbers)

        return self.add_event_callback(deliver, operator.index(event_bitmask))

    def delete_event_callback(self, event_handle: int) -> None:
        """Remove the callback; harmless if there is none with that number."""
        try:
            super().delete_event_callback(event_handle)
        except ClosedHandle:
            raise
        except Error:
            pass


def _as_int(method: Callable[..., Any]) -> Callable[..., int]:
    @functools.wraps(method)
    def call(self: GuestFS, /, *arguments: Any, **options: Any) -> int:
        return int(method(self, *arguments, **options))

    return call


def _as_pairs(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: GuestFS, /, *arguments: Any, **options: Any) -> Any:
        table = method(self, *arguments, **options)
        return table if self._python_return_dict else list(table.items())

    return call


def _takes_str(method: Callable[..., Any], position: int, name: str) -> Callable[..., Any]:
    """Let the bytes argument take str too, encoded as UTF-8."""

    def as_bytes(content: Any) -> Any:
        return content.encode(errors="surrogateescape") if isinstance(content, str) else content

    @functools.wraps(method)
    def call(self: GuestFS, /, *arguments: Any, **options: Any) -> Any:
        given = list(arguments)
        given[position : position + 1] = map(as_bytes, given[position : position + 1])
        if name in options:
            options[name] = as_bytes(options[name])
        return method(self, *given, **options)

    return call


def _define() -> None:
    for names, wrap in ((BOOLS, _as_int), (HASHTABLES, _as_pairs)):
        for name in names:
            if hasattr(_native.Handle, name):
                setattr(GuestFS, name, wrap(getattr(_native.Handle, name)))
    for name, (position, argument) in BUFFERS.items():
        if hasattr(_native.Handle, name):
            setattr(GuestFS, name, _takes_str(getattr(_native.Handle, name), position, argument))
    for former, name in ALIASES.items():
        if hasattr(GuestFS, name):
            setattr(GuestFS, former, getattr(GuestFS, name))


_define()
