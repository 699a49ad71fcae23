"""How disks are opened: what an image may lead to, and what is taken for a disk.

    with open_guest("web.qcow2", format="qcow2", backing=under("/images")) as g:
        ...

`Guestfs.open_disk` says what each choice means.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypedDict, cast

from guestkit.errors import Error
from guestkit.handle_options import HandleKeywords, LaunchKeywords
from guestkit.images import packed_by
from guestkit.unpack import UNPACK, UnpackLimits

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath

__all__ = [
    "SERVED",
    "Backing",
    "GuestKeywords",
    "InUse",
    "InspectKeywords",
    "NativeOpenDiskOptions",
    "OpenDiskOptions",
    "OpeningKeywords",
    "Under",
    "opening_from",
    "parted",
    "policy_of",
    "under",
]


@dataclass(frozen=True, slots=True)
class Under:
    """What `under` returns."""

    directory: StrOrBytesPath


def under(directory: StrOrBytesPath) -> Under:
    """Permit files that really lie beneath the directory: `open_disk(…, backing=under("/images"))`."""
    os.fspath(directory)  # raises TypeError if it is not a path
    return Under(directory)


#: How to treat an image that names other files on the host: backing files, data files, extents.
Backing = Literal["refuse", "allow"] | Under


def policy_of(op: str, backing: Backing) -> tuple[str, StrOrBytesPath | None]:
    """Return the rule and its directory."""
    if isinstance(backing, Under):
        return "under", backing.directory
    if backing not in ("refuse", "allow"):
        raise ValueError(
            f'{op}() argument \'backing\' must be "refuse", "allow" or under(directory), not {backing!r}'
        )
    return backing, None


#: How to treat a disk that another program is writing to, such as that of a running guest.
InUse = Literal["allow", "refuse"]

#: The protocols of URLs that nbdkit serves, which guestkit starts for them.
SERVED = ("http", "https", "ssh")

#: `OpenDiskOptions` as C++ takes them: readonly, format, the backing rule and its directory, protocols,
#: snapshot, whether to refuse a disk in use, blocksize.
NativeOpenDiskOptions = tuple[
    bool,
    "StrOrBytesPath | None",
    str,
    "StrOrBytesPath | None",
    "Iterable[StrOrBytesPath]",
    "StrOrBytesPath | None",
    bool,
    int | None,
]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenDiskOptions:
    """How to open disks: the arguments of `Guestfs.open_disk`, bundled so that callers can pass them on."""

    readonly: bool = True
    format: StrOrBytesPath | None = None
    backing: Backing = "refuse"
    protocols: Iterable[StrOrBytesPath] = ("file",)
    snapshot: StrOrBytesPath | None = None
    in_use: InUse = "allow"
    blocksize: int | None = None
    unpack: UnpackLimits | None = UNPACK

    def __post_init__(self) -> None:
        if not isinstance(self.protocols, (str, bytes, tuple)):  # an iterator would serve one disk only
            object.__setattr__(self, "protocols", tuple(self.protocols))

    def native(self, op: str) -> NativeOpenDiskOptions:
        """Return the options as C++ takes them; ValueError or TypeError names a wrong argument of op."""
        if not isinstance(self.readonly, bool):
            raise TypeError(f"{op}() argument 'readonly' must be bool, not {type(self.readonly).__name__}")
        if self.in_use not in ("allow", "refuse"):
            raise ValueError(f'{op}() argument \'in_use\' must be "allow" or "refuse", not {self.in_use!r}')
        if self.blocksize not in (None, 512, 4096):
            raise ValueError(f"{op}() argument 'blocksize' must be 512, 4096 or None, not {self.blocksize!r}")
        rule, directory = policy_of(op, self.backing)
        refuse = self.in_use == "refuse"
        protocols = self.protocols
        if not isinstance(protocols, (str, bytes)):
            protocols = tuple(each for each in protocols if each not in SERVED)  # C++ has no part in them
        return (
            self.readonly,
            self.format,
            rule,
            directory,
            protocols,
            self.snapshot,
            refuse,
            self.blocksize,
        )

    def finds_packed(self, path: StrOrBytesPath) -> bool:
        """Return whether the file is packed and its content, not the file itself, is to be opened."""
        if self.unpack is None or not self.readonly or self.format is not None or self.snapshot is not None:
            return False
        if "file" in self.protocols and packed_by(path):
            return True
        if self.unpack.member is not None and os.path.isfile(path):
            name = os.fsdecode(path)
            raise Error("open_disk", f"{name}: is no archive: there is no member to choose", errno.EINVAL)
        return False


class OpeningKeywords(TypedDict, total=False):
    """The fields of `OpenDiskOptions` but readonly, as keywords, for type checkers and editors."""

    format: StrOrBytesPath | None
    backing: Backing
    protocols: Iterable[StrOrBytesPath]
    snapshot: StrOrBytesPath | None
    in_use: InUse
    blocksize: int | None
    unpack: UnpackLimits | None


class GuestKeywords(OpeningKeywords, HandleKeywords, total=False):
    """How to open disks, and the options of their handle, as keywords."""


class InspectKeywords(OpeningKeywords, LaunchKeywords, total=False):
    """The same for an inspection, whose `timeout` stands for the limits of calls."""


def opening_from(op: str, keywords: OpeningKeywords, *, readonly: bool = True) -> OpenDiskOptions:
    """Return the options that were given to op."""
    if unknown := set(keywords) - set(OpeningKeywords.__annotations__):
        raise TypeError(f"{op}() got an unexpected keyword argument {min(unknown)!r}")
    return OpenDiskOptions(readonly=readonly, **keywords)


def parted(keywords: GuestKeywords | InspectKeywords) -> tuple[OpeningKeywords, HandleKeywords]:
    """Return the keywords of the disks, and all others, which are those of the handle."""
    given: Mapping[str, object] = {**keywords}
    of_disks = {name: value for name, value in given.items() if name in OpeningKeywords.__annotations__}
    of_handle = {name: value for name, value in given.items() if name not in of_disks}
    return cast(OpeningKeywords, of_disks), cast(HandleKeywords, of_handle)
