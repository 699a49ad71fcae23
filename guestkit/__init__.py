"""guestkit: look inside and change virtual-machine disk images, blocking or async.

`Guestfs` is a libguestfs handle with every action as a method; `AsyncGuestfs` is the same for asyncio.
"""

from guestkit.aio import AsyncGuestfs, EventMessage, EventStream, set_executor
from guestkit.aio.convert import AsyncDiskConverter
from guestkit.convert import ConversionResult, DiskConverter
from guestkit.errors import (
    ApplianceCrashed,
    ApplianceKilled,
    CallTimeout,
    Error,
    HandleClosed,
    LaunchError,
)
from guestkit.events import Event
from guestkit.fleet import FleetProgress, Report, inspect, inspect_many
from guestkit.generated import structs
from guestkit.generated.values import LaunchInfo
from guestkit.guest import open_guest
from guestkit.handle import Guestfs, set_appliance_limit
from guestkit.images import ImageInfo, probe, under
from guestkit.inspection import Inspection, Key
from guestkit.unpack import UnpackLimits

__version__ = "0.4.0"

__all__ = [
    "ApplianceCrashed",
    "ApplianceKilled",
    "AsyncDiskConverter",
    "AsyncGuestfs",
    "CallTimeout",
    "ConversionResult",
    "DiskConverter",
    "Error",
    "Event",
    "EventMessage",
    "EventStream",
    "FleetProgress",
    "Guestfs",
    "HandleClosed",
    "ImageInfo",
    "Inspection",
    "Key",
    "LaunchError",
    "LaunchInfo",
    "Report",
    "UnpackLimits",
    "inspect",
    "inspect_many",
    "open_guest",
    "probe",
    "set_appliance_limit",
    "set_executor",
    "structs",
    "under",
]
