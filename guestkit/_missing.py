"""Says why a handle lacks an action that the stubs have."""

from __future__ import annotations

import errno
from typing import NoReturn

from guestkit import _native
from guestkit.errors import ActionMissing
from guestkit.generated.since import SINCE
from guestkit.handle_options import HandleOptions


class MissingAction:
    """Stands on a class of handles for an action that only other libguestfs have: it raises ActionMissing.

    A `__getattr__` could do that too, but Python finds every method more slowly where there is one.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, handle: object, kind: type) -> NoReturn:
        version = _native.Handle(HandleOptions(environment=False).native()).version()
        here = (version["major"], version["minor"], version["release"])
        since = SINCE[self._name]
        if here < _numbers(since):
            reason = f"libguestfs {_text(here)} lacks this action, which came with {since}"
        else:
            reason = (
                f"this guestkit was built for libguestfs {_native.LIBGUESTFS}, and the action came with "
                f"{since}: build it anew for libguestfs {_text(here)}, which is installed"
            )
        raise ActionMissing(self._name, reason, errno.ENOSYS)


def add_missing_actions(handles: type) -> None:
    """Add to this class of handles what the installed libguestfs lacks."""
    for name in SINCE:
        if not hasattr(_native.Handle, name):
            setattr(handles, name, MissingAction(name))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _text(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))
