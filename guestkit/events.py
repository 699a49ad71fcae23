"""The kinds of events that a handle sends while a call runs."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntFlag


class Event(IntFlag):
    """Flags for `Guestfs.set_event_callback`: guestfs(3), "SETTING CALLBACKS TO HANDLE EVENTS"."""

    CLOSE = 1 << 0
    """The handle is being closed."""
    SUBPROCESS_QUIT = 1 << 1
    """The hypervisor has ended."""
    LAUNCH_DONE = 1 << 2
    """The appliance is up."""
    PROGRESS = 1 << 3
    """A long call has made progress; the numbers are proc_nr, serial, position, total."""
    APPLIANCE = 1 << 4
    """Console output of the appliance: hostile text, escape it."""
    LIBRARY = 1 << 5
    """libguestfs' debug messages, if set_verbose is on."""
    TRACE = 1 << 6
    """Calls and their results, if set_trace is on; may hold secrets."""
    ENTER = 1 << 7
    """A call begins; the text is its name."""
    LIBVIRT_AUTH = 1 << 8
    """libvirt wants a credential."""
    WARNING = 1 << 9
    """libguestfs' warnings."""
    ALL = (1 << 10) - 1


EventCallback = Callable[[Event, int, str, list[int]], object]
"""Takes the event, the registration number, the event's text and its numbers.

It runs on the thread of the call that caused the event, inside that call: keep it short, and make no call
that needs the appliance. Exceptions go to `sys.unraisablehook`.
"""
