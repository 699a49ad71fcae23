"""guestkit for asyncio: `AsyncGuestfs`, whose calls are awaited, guests and fleets of them on an event loop.

The names here are public; the modules of this package are not.
"""

from guestkit.aio.call import Call, OnCancel
from guestkit.aio.events import EventMessage, EventStream
from guestkit.aio.executor import set_executor
from guestkit.aio.fleet import inspect, inspect_many
from guestkit.aio.guest import open_guest
from guestkit.aio.handle import AsyncGuestfs

__all__ = [
    "AsyncGuestfs",
    "Call",
    "EventMessage",
    "EventStream",
    "OnCancel",
    "inspect",
    "inspect_many",
    "open_guest",
    "set_executor",
]
