"""guestkit: look inside and change virtual-machine disk images, blocking or async.

`Guestfs` is a libguestfs handle with every action as a method; `AsyncGuestfs` is the same for asyncio.
"""

from importlib import import_module
from typing import TYPE_CHECKING

try:
    from guestkit import _native  # noqa: F401
except ImportError as _error:
    from guestkit._not_loaded import explained

    raise explained(_error) from _error
from guestkit._text import printable
from guestkit.disks import Domain
from guestkit.errors import (
    ActionMissing,
    ApplianceCrashed,
    ApplianceError,
    ApplianceKilled,
    CallTimeout,
    Error,
    HandleClosed,
    LaunchError,
)
from guestkit.events import Event
from guestkit.fleet import FleetProgress, Report, inspect, inspect_many
from guestkit.generated.values import Cause, LaunchInfo
from guestkit.guest import open_guest
from guestkit.handle import Guestfs, set_appliance_limit
from guestkit.handle_options import HandleOptions
from guestkit.images import ImageInfo, probe
from guestkit.inspection import Inspection, Key
from guestkit.opening import under
from guestkit.unpack import UnpackLimits

if TYPE_CHECKING:
    from guestkit import aio as aio
    from guestkit import appliance as appliance
    from guestkit import archives as archives
    from guestkit import cache as cache
    from guestkit import cli as cli
    from guestkit import comparison as comparison
    from guestkit import compat as compat
    from guestkit import convert as convert
    from guestkit import copying as copying
    from guestkit import demo as demo
    from guestkit import doctor as doctor
    from guestkit import file_comparison as file_comparison
    from guestkit import fs as fs
    from guestkit import fuse as fuse
    from guestkit import languages as languages
    from guestkit import reading as reading
    from guestkit import reports as reports
    from guestkit import sboms as sboms
    from guestkit import serving as serving
    from guestkit.aio import AsyncGuestfs, EventMessage, EventStream, set_executor
    from guestkit.aio.convert import AsyncDiskConverter
    from guestkit.comparison import Comparison, diff
    from guestkit.convert import Conversion, ConversionResult, DiskConverter, convert_disk
    from guestkit.file_comparison import diff_files, diff_guests
    from guestkit.generated import structs
    from guestkit.reports import report
    from guestkit.sboms import Sbom, sbom
    from guestkit.serving import Served, ServeOptions, Server, serve

__version__ = "0.4.0"

__all__ = [
    "ActionMissing",
    "ApplianceCrashed",
    "ApplianceError",
    "ApplianceKilled",
    "AsyncDiskConverter",
    "AsyncGuestfs",
    "CallTimeout",
    "Cause",
    "Comparison",
    "Conversion",
    "ConversionResult",
    "DiskConverter",
    "Domain",
    "Error",
    "Event",
    "EventMessage",
    "EventStream",
    "FleetProgress",
    "Guestfs",
    "HandleClosed",
    "HandleOptions",
    "ImageInfo",
    "Inspection",
    "Key",
    "LaunchError",
    "LaunchInfo",
    "Report",
    "Sbom",
    "ServeOptions",
    "Served",
    "Server",
    "UnpackLimits",
    "convert_disk",
    "diff",
    "diff_files",
    "diff_guests",
    "inspect",
    "inspect_many",
    "open_guest",
    "printable",
    "probe",
    "report",
    "sbom",
    "serve",
    "set_appliance_limit",
    "set_executor",
    "structs",
    "under",
]

#: Names that are loaded on first use, and their modules. Importing asyncio takes as long as everything else
#: here, and blocking programs and the command line do not need it.
_LATER = {
    "AsyncDiskConverter": "guestkit.aio.convert",
    "AsyncGuestfs": "guestkit.aio",
    "Comparison": "guestkit.comparison",
    "Conversion": "guestkit.convert",
    "ConversionResult": "guestkit.convert",
    "DiskConverter": "guestkit.convert",
    "EventMessage": "guestkit.aio",
    "EventStream": "guestkit.aio",
    "Sbom": "guestkit.sboms",
    "ServeOptions": "guestkit.serving",
    "Served": "guestkit.serving",
    "Server": "guestkit.serving",
    "convert_disk": "guestkit.convert",
    "diff": "guestkit.comparison",
    "diff_files": "guestkit.file_comparison",
    "diff_guests": "guestkit.file_comparison",
    "report": "guestkit.reports",
    "sbom": "guestkit.sboms",
    "serve": "guestkit.serving",
    "set_executor": "guestkit.aio",
}

#: The same for modules; the other public ones are loaded above.
_MODULES_LATER = {
    "aio": "guestkit.aio",
    "appliance": "guestkit.appliance",
    "archives": "guestkit.archives",
    "cache": "guestkit.cache",
    "cli": "guestkit.cli",
    "comparison": "guestkit.comparison",
    "compat": "guestkit.compat",
    "convert": "guestkit.convert",
    "copying": "guestkit.copying",
    "demo": "guestkit.demo",
    "doctor": "guestkit.doctor",
    "file_comparison": "guestkit.file_comparison",
    "fs": "guestkit.fs",
    "fuse": "guestkit.fuse",
    "languages": "guestkit.languages",
    "reading": "guestkit.reading",
    "reports": "guestkit.reports",
    "sboms": "guestkit.sboms",
    "serving": "guestkit.serving",
    "structs": "guestkit.generated.structs",
}

if not TYPE_CHECKING:  # with this __getattr__ a type checker would accept any name

    def __getattr__(name):
        if name in _MODULES_LATER:
            try:
                return import_module(_MODULES_LATER[name])
            except ImportError as error:  # a library is missing; hasattr and help() ask for every name
                raise AttributeError(str(error)) from error
        if name not in _LATER:
            raise AttributeError(f"module 'guestkit' has no attribute {name!r}")
        found = getattr(import_module(_LATER[name]), name)
        globals()[name] = found  # the next access does not come here
        return found

    def __dir__():
        return sorted({*globals(), *_LATER, *_MODULES_LATER})
