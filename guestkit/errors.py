"""The exceptions: one tree. Every class can be pickled, so errors cross process pools.

A failed libguestfs call raises an `Error`. It has a subclass wherever a caller would react differently. Wrong
arguments raise Python's own TypeError, ValueError or OverflowError.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from guestkit import _native

if TYPE_CHECKING:
    from guestkit.generated.values import Cause

Clock = Literal["launch_timeout", "call_timeout", "queue_timeout", "admission_timeout"]


class Error(RuntimeError):
    """A libguestfs call failed.

    Attributes:
        op: the libguestfs action, such as "mount"
        message: the reason, without the action's name in front
        errno: an errno value (module errno), 0 where libguestfs gave none
        cause: one word for what is wrong, such as "disk_in_use" (`guestkit.Cause` has them all); "unknown"
            where errno and the message are all there is
        hint: how to fix it, in terms of this library; "" if guestkit does not know
    """

    def __init__(
        self, op: str, message: str, errno: int = 0, cause: Cause = "unknown", hint: str = ""
    ) -> None:
        # Without RuntimeError.__init__(), which does the same and takes a tenth of the time of an error.
        self.args = (op, message, errno, cause, hint) if cause != "unknown" or hint else (op, message, errno)
        self.op = op
        self.message = message
        self.errno = errno
        self.cause = cause
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.op}: {self.message}{f'; {self.hint}' if self.hint else ''}"

    def reworded(self, message: str, op: str = "") -> Error:
        """Return a plain Error with this message, of that call if one is given, and all else as it is."""
        return Error(op or self.op, message, self.errno, self.cause, self.hint)


def is_final(error: BaseException) -> bool:
    """Return whether the error ends the whole task, not only the call that failed.

    So it is if the call was ended, as by `Guestfs.cancel`, or if the handle can be used no more.
    """
    return isinstance(error, Error) and (type(error) is not Error or error.errno == errno.EINTR)


def said(error: BaseException) -> tuple[str, str]:
    """Return what the error says, without the call that an Error names, and its hint: "" if it has none."""
    return (error.message, error.hint) if isinstance(error, Error) else (str(error), "")


class HandleClosed(Error, ValueError):
    """The handle is closed or being closed, or belongs to the parent process before a fork."""


class ActionMissing(Error, AttributeError):
    """libguestfs is older than the action, or guestkit was built for one that is: `hasattr` returns False."""


class LaunchError(Error):
    """The appliance did not start.

    Attributes:
        console: the last lines that the appliance and libguestfs wrote: hostile text, escape it
    """

    def __init__(
        self,
        op: str,
        message: str,
        errno: int = 0,
        cause: Cause = "unknown",
        hint: str = "",
        console: Sequence[str] = (),
    ) -> None:
        super().__init__(op, message, errno, cause, hint)
        self.args = (op, message, errno, cause, hint, tuple(console))
        self.console = tuple(console)


class ApplianceError(Error):
    """An appliance of guestkit's own cannot be built or kept. A launch that fails raises LaunchError."""


class ApplianceCrashed(Error):
    """The appliance died while it was in use. Open a new handle: this one has lost its disks.

    Attributes:
        console: the last lines that the appliance and libguestfs wrote: hostile text, escape it
    """

    def __init__(self, op: str, message: str, errno: int = 0, console: Sequence[str] = ()) -> None:
        super().__init__(op, message, errno)
        self.args = (op, message, errno, tuple(console))
        self.console = tuple(console)


class ApplianceKilled(ApplianceCrashed):
    """guestkit killed the appliance: by `terminate`, or because a call did not stop in time."""


class CallTimeout(Error, TimeoutError):  # type: ignore[misc]  # OSError.errno may be None, this one not
    """A call exceeded its time limit.

    Attributes:
        seconds: the limit
        clock: which limit it was, which is the cause, too
        console: the last lines that the appliance and libguestfs wrote: hostile text, escape it
        handle_usable: whether the handle can be used further; False: the appliance was killed, open a new one
    """

    # Whoever makes errors by hand, as Dask's workers do, would find RuntimeError's, which refuses this class.
    __new__ = TimeoutError.__new__  # type: ignore[assignment]

    def __init__(
        self,
        op: str,
        message: str,
        errno: int = 0,
        seconds: float = 0.0,
        clock: Clock = "call_timeout",
        console: Sequence[str] = (),
        handle_usable: bool = True,
    ) -> None:
        super().__init__(op, message, errno, clock)
        self.args = (op, message, errno, seconds, clock, tuple(console), handle_usable)
        self.seconds = seconds
        self.clock = clock
        self.console = tuple(console)
        self.handle_usable = handle_usable


_native.use_error_types((Error, HandleClosed, LaunchError, ApplianceCrashed, ApplianceKilled, CallTimeout))


def dropped() -> RuntimeError:
    """Return the exception for work that an executor has dropped, which only a shutdown does."""
    return RuntimeError("the executor was shut down while the work waited for its turn; it did not run")
