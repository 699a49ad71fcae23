"""Says why a handle lacks an action that the stubs have."""

from __future__ import annotations

import errno

from guestkit import _native
from guestkit.errors import ActionMissing
from guestkit.handle_options import HandleOptions


def no_attribute(owner: object, name: str) -> AttributeError:
    """Return what a handle's `__getattr__` raises: ActionMissing for an action that other libguestfs have."""
    from guestkit.generated.since import SINCE

    if name not in SINCE:
        return AttributeError(
            f"{type(owner).__name__!r} object has no attribute {name!r}", name=name, obj=owner
        )
    version = _native.Handle(HandleOptions(environment=False).native()).version()
    here = (version["major"], version["minor"], version["release"])
    if here < _numbers(SINCE[name]):
        reason = f"libguestfs {_text(here)} lacks this action, which came with {SINCE[name]}"
    else:
        reason = (
            f"this guestkit was built for libguestfs {_native.LIBGUESTFS}, and the action came with "
            f"{SINCE[name]}: build it anew for libguestfs {_text(here)}, which is installed"
        )
    return ActionMissing(name, reason, errno.ENOSYS)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _text(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))
