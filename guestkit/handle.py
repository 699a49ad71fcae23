"""`Guestfs`, the blocking handle."""

from __future__ import annotations

import atexit
import logging
import operator
import weakref
from types import TracebackType
from typing import Literal, Self

from guestkit import _native
from guestkit.events import Event, EventCallback

Accel = Literal["auto", "kvm", "tcg"]

_log = logging.getLogger("guestkit")


class Guestfs(_native.Handle):
    """A libguestfs handle: the disks of one guest, every libguestfs action as a method.

        with Guestfs() as g:
            g.add_drive_ro("disk.qcow2")
            g.launch()
            for root in g.inspect_os():
                print(g.inspect_get_product_name(root))

    The methods have libguestfs' own names, so guestfs(3) is their manual. They take str, bytes and
    os.PathLike for text, raise `guestkit.Error`, and release the GIL while they run. Any thread may call at
    any time; the calls on one handle run one after the other. After a fork the handle is the parent's.

    The logger "guestkit" tells of launches at INFO. A handle that is made while its level is DEBUG tells of
    closes, of every call (libguestfs' trace) and of what the appliance writes, with secrets replaced by ***;
    after `set_verbose(True)` also of what libguestfs does.
    """

    def __init__(
        self, *, environment: bool = True, close_on_exit: bool = True, accel: Accel = "auto"
    ) -> None:
        """Create a handle.

        environment: take LIBGUESTFS_* and TMPDIR from the environment
        close_on_exit: close the handle when the interpreter ends, if it is still open and idle
        accel: who runs the appliance's processor: "kvm" (or the launch fails), "tcg" (emulation: works
            everywhere, several times slower), "auto" (KVM where it works, else TCG, with a line in the log)
        """
        if not isinstance(environment, bool):
            raise TypeError(
                f"Guestfs() argument 'environment' must be bool, not {type(environment).__name__}"
            )
        if not isinstance(accel, str):
            raise TypeError(f"Guestfs() argument 'accel' must be str, not {type(accel).__name__}")
        super().__init__(environment, accel, _log.getEffectiveLevel())
        if close_on_exit:
            _open_handles.add(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<guestkit.{type(self).__name__} {'open' if self.is_open() else 'closed'}>"

    def close(self) -> None:
        """End the appliance and free the handle.

        Waits for calls that other threads have in it; later calls raise HandleClosed. Closing twice is
        harmless. Errors of the guest's last writes are not told here: call `shutdown` first where they
        matter. guestfs_close(3).
        """
        super().close()

    def is_open(self) -> bool:
        """Tell whether the handle can still be used."""
        return super().is_open()

    def set_event_callback(self, callback: EventCallback, events: Event | int = Event.ALL) -> int:
        """Have callback run at each of these events; return the number of the registration.

        Waits for a call that is running on the handle. A callback that refers to the handle keeps it alive
        until it is closed. guestfs_set_event_callback(3).
        """
        if not callable(callback):
            raise TypeError(
                f"set_event_callback() argument 'callback' must be callable, not {type(callback).__name__}"
            )

        def deliver(event: int, number: int, text: str, numbers: list[int]) -> None:
            callback(Event(event), number, text, numbers)

        return super().add_event_callback(deliver, operator.index(events))

    def delete_event_callback(self, number: int) -> None:
        """End the registration of that number. guestfs_delete_event_callback(3)."""
        super().delete_event_callback(number)


_open_handles: weakref.WeakSet[Guestfs] = weakref.WeakSet()


@atexit.register
def _close_open_handles() -> None:
    """libguestfs' own exit handler would run callbacks into an interpreter that is gone."""
    for handle in list(_open_handles):
        if handle.is_idle():
            handle.close()
