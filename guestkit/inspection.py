"""What is on a guest's disks, as values: `guestkit.inspect` and `Guestfs.inspect` return an `Inspection`.

Every string in it comes from the guest: treat it as hostile.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from guestkit.generated import values
from guestkit.generated.values import (
    Application,
    Disk,
    Filesystem,
    Kernel,
    Layer,
    NetworkInterface,
    OperatingSystem,
    PartFailure,
    Partition,
    Provenance,
    UnopenedFilesystem,
    User,
    WindowsFacts,
)
from guestkit.opening import NativeOpenDiskOptions, OpenDiskOptions

__all__ = [
    "ALL_PARTS",
    "DEFAULT_PARTS",
    "Application",
    "Disk",
    "Filesystem",
    "InspectOptions",
    "Inspection",
    "Kernel",
    "Key",
    "Layer",
    "Mode",
    "NativeInspectOptions",
    "NativeKey",
    "NetworkInterface",
    "OperatingSystem",
    "Part",
    "PartFailure",
    "Partition",
    "Provenance",
    "UnopenedFilesystem",
    "User",
    "WindowsFacts",
    "checked_keys",
    "json_schema",
    "native_keys",
    "pretty_name",
]

#: What can be gathered beyond the operating systems themselves. Each costs time.
Part = Literal[
    "filesystems",
    "applications",
    "users",
    "kernels",
    "services",
    "network",
    "locale",
    "machine_id",
    "icon",
]
DEFAULT_PARTS: Collection[Part] = ("filesystems", "applications")
ALL_PARTS: Collection[Part] = get_args(Part)

Mode = Literal["auto", "libguestfs"]


#: A `Key` as C++ takes it: device, secret, and whether the secret is a file's name.
NativeKey = tuple[bytes, bytes, bool]


@dataclass(frozen=True, slots=True)
class Key:
    """A key for encrypted disks. Its repr, the logs and all errors leave the secret out.

    Attributes:
        passphrase: the key itself
        file: a file on this host whose first line is the key
        device: the device it opens: its name in the appliance, such as "/dev/sda2", or a UUID; "": try all
    """

    passphrase: str | bytes | None = field(default=None, repr=False)
    file: str | bytes | os.PathLike[str] | None = None
    device: str = ""

    def __post_init__(self) -> None:
        if (self.passphrase is None) == (self.file is None):
            raise ValueError("a key is either a passphrase or a file")

    def _native(self) -> NativeKey:
        if self.file is not None:
            return os.fsencode(self.device), os.fsencode(self.file), True
        assert self.passphrase is not None
        return os.fsencode(self.device), _encoded(self.passphrase), False


#: `InspectOptions` as C++ takes them: parts, whether guestkit's own rules may be used, verify, keys, step,
#: opening.
NativeInspectOptions = tuple[
    int,
    bool,
    bool,
    "tuple[NativeKey, ...]",
    "Callable[[str], object] | None",
    NativeOpenDiskOptions,
]


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectOptions:
    """What to find out, with which keys, and how to open the disks: the arguments of `guestkit.inspect`.

    Attributes:
        cache: the directory where results are kept; None: they are not
    """

    parts: Collection[Part] = DEFAULT_PARTS
    keys: Iterable[Key] = ()
    mode: Mode = "auto"
    verify: bool = False
    step: Callable[[str], object] | None = None
    opening: OpenDiskOptions = field(default_factory=OpenDiskOptions)
    cache: Path | None = None

    def __post_init__(self) -> None:
        # An iterator would serve once only.
        if not isinstance(self.parts, (str, bytes)):
            object.__setattr__(self, "parts", tuple(self.parts))
        object.__setattr__(self, "keys", checked_keys(self.keys))

    def native(self) -> NativeInspectOptions:
        """Return the options as C++ takes them; ValueError or TypeError names a wrong argument."""
        if not isinstance(self.verify, bool):
            raise TypeError(f"inspect() argument 'verify' must be bool, not {type(self.verify).__name__}")
        return (
            _parts_number(self.parts),
            _is_automatic(self.mode),
            self.verify,
            native_keys(self.keys),
            self.step,
            self.opening.native("inspect"),
        )


class Inspection(values.Inspection):
    __slots__ = ()
    __doc__ = values.Inspection.__doc__

    def to_xml(self) -> str:
        """Return the operating systems as XML in the format of virt-inspector(1)."""
        from guestkit._virt_inspector import to_xml  # most programs need no XML: save them the import

        return to_xml(self)


def pretty_name(system: OperatingSystem) -> str:
    """Return what the system calls itself.

    That is os-release's PRETTY_NAME. Where there is none, it is its NAME and VERSION, else libguestfs'
    product name, such as that of a Windows, else the distribution.
    """
    release = system.os_release
    version = release.get("VERSION") or release.get("VERSION_ID", "")
    named = f"{release.get('NAME', '')} {version}".strip() if release.get("NAME") else ""
    product = system.product_name if system.product_name != "unknown" else ""
    return release.get("PRETTY_NAME") or named or product or system.distro


def json_schema() -> Mapping[str, Any]:
    """Return the JSON schema of `Inspection.to_dict`."""
    import json  # most programs need no schema: save them these imports
    from importlib import resources

    text = (
        resources.files("guestkit.generated").joinpath("inspection.schema.json").read_text(encoding="utf-8")
    )
    schema: Mapping[str, Any] = json.loads(text)
    return schema


def _parts_number(parts: Iterable[str]) -> int:
    """Return the parts as the bindings take them. Raise ValueError for an unknown part."""
    if isinstance(parts, (str, bytes)):
        raise TypeError(f"inspect() argument 'parts' must be a collection of names, not {parts!r}")
    order = get_args(Part)
    number = 0
    for part in parts:
        if part not in order:
            raise ValueError(f"inspect() argument 'parts' has {part!r}; there are: {', '.join(order)}")
        number |= 1 << order.index(part)
    return number


def _encoded(passphrase: str | bytes) -> bytes:
    """Return the passphrase as it was typed, also where that is no UTF-8."""
    with suppress(UnicodeEncodeError):  # which holds the passphrase: no other error may refer to it
        return os.fsencode(passphrase)
    raise ValueError("the passphrase has a character that cannot be encoded here")


def checked_keys(keys: Iterable[Key]) -> tuple[Key, ...]:
    """Return the keys; TypeError says what is none, before anything is launched for it."""
    if isinstance(keys, (str, bytes)) or not isinstance(keys, Iterable):
        raise TypeError(f"keys must be a list of guestkit.Key, not {type(keys).__name__}")
    found = tuple(keys)
    for key in found:
        if not isinstance(key, Key):
            raise TypeError(f"keys must be a list of guestkit.Key, not of {type(key).__name__}")
    return found


def native_keys(keys: Iterable[Key]) -> tuple[NativeKey, ...]:
    """Return the keys as the bindings take them."""
    return tuple(key._native() for key in checked_keys(keys))


def _is_automatic(mode: str) -> bool:
    """Return whether guestkit's own rules may be used."""
    if mode not in get_args(Mode):
        raise ValueError(f'inspect() argument \'mode\' must be "auto" or "libguestfs", not {mode!r}')
    return mode == "auto"
