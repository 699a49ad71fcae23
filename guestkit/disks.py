"""The disks of a guest, by whatever a user calls them, made ready to be opened.

A disk is a file, a block device, a packed file, or a URL; a `Domain` stands for all disks of a guest of
libvirt. What opens disks takes them through `disks_for`, in Python as on the command line.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from guestkit._text import hidden, without_secrets
from guestkit.errors import Error, is_final
from guestkit.images import ImageInfo, probe
from guestkit.opening import SERVED, OpenDiskOptions

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath

    from guestkit.handle import Guestfs

__all__ = [
    "Domain",
    "Guest",
    "PlainDisk",
    "add_disks",
    "disks_for",
    "named_disks",
    "names_of",
    "open_all",
    "plain_disks",
]


@dataclass(frozen=True, slots=True)
class Domain:
    """A guest of libvirt, given in place of its disks: `inspect(Domain("web"))`.

    libvirt tells which disks it has, and of which format: `format` is for disks that are given themselves.
    They are opened as all others, read-only as long as the guest runs. virsh is asked.

    Attributes:
        name: its name, or its UUID
        uri: which libvirt, such as "qemu:///system"; "": LIBVIRT_DEFAULT_URI, else libvirt's own default
    """

    name: str
    uri: str = ""


_Disk = str | bytes | os.PathLike[str] | os.PathLike[bytes]
#: All disks of a guest.
Guest = _Disk | Sequence[_Disk] | Domain


@dataclass(frozen=True, slots=True)
class PlainDisk:
    """A disk ready to be opened: what was given, a private file with its unpacked content, or its server.

    Attributes:
        path: valid in this process
        options: how to open it
        name: for messages; "": use the path
    """

    path: StrOrBytesPath
    options: OpenDiskOptions
    name: str = ""

    @contextmanager
    def named(self) -> Iterator[None]:
        """Make errors name the disk that was given: the path of a private file would tell a user nothing."""
        try:
            yield
        except Error as error:
            told = self._told(error)
            if told is error:
                raise
            raise told from None  # the text of the other one may have a password

    def _told(self, error: Error) -> Error:
        """Return the error in terms of the disk that was given, without the secrets of a URL."""
        if type(error) is not Error:
            return error
        message, hint = (hidden(text, os.fsdecode(self.path)) for text in (error.message, error.hint))
        if (message, hint) != (error.message, error.hint):
            error = Error(error.op, message, error.errno, error.cause, hint)
        scheme = _scheme(self.path)
        if error.cause == "url" and error.hint and scheme in SERVED:  # without a hint it takes files alone
            hint = f'{error.hint}, or state protocols=("{scheme}",), and guestkit starts nbdkit for it'
            return Error(error.op, error.message, error.errno, error.cause, hint)
        unknown = f"{_name(self.path)}: "
        if self.name and error.message.startswith(unknown):
            return error.reworded(f"{self.name}: {error.message.removeprefix(unknown)}")
        return error


def names_of(guest: Guest) -> tuple[str, ...]:
    """Return the names of the guest's disks, or that of the domain."""
    if isinstance(guest, Domain):
        return (guest.name,)
    return tuple(_name(disk) for disk in _paths(guest)) or ("",)


def _name(path: StrOrBytesPath) -> str:
    """Return what the disk is called in messages: a URL may have a password."""
    return without_secrets(os.fsdecode(path))


@contextmanager
def _as_call(handle: Guestfs) -> Iterator[None]:
    """Have what is done before the disks are opened count as a call: the limits and a cancel end it, too."""
    handle._begin_opening()
    try:
        yield
    finally:
        handle._end_turn()


def named_disks(op: str, handle: Guestfs, guest: Guest, options: OpenDiskOptions) -> Sequence[PlainDisk]:
    """Return the guest's disks as they are named, each with how it is to be opened.

    Asking libvirt counts as a call.

    op: the operation that errors name
    """
    if not isinstance(guest, Domain):
        return [PlainDisk(path, options) for path in _paths(guest)]
    from guestkit._libvirt import disks_of_domain  # only domains pay for this import

    with _as_call(handle):
        found = disks_of_domain(op, guest.name, guest.uri, handle._check_turn, readonly=options.readonly)
    return [PlainDisk(path, replace(options, format=stated)) for path, stated in found]


def _paths(guest: _Disk | Sequence[_Disk]) -> Sequence[_Disk]:
    return [guest] if isinstance(guest, (str, bytes, os.PathLike)) else list(guest)


@contextmanager
def plain_disks(
    op: str,
    disks: Sequence[PlainDisk],
    folder: StrOrBytesPath,
    beat: Callable[[], object],
    *,
    one: bool = False,
) -> Iterator[Sequence[PlainDisk]]:
    """Unpack what is packed; yield the disks of the guest. The private files last as long as the context.

    op: the operation that errors name
    folder, beat, one: as in `unpacked`
    """
    with ExitStack() as stack:
        ready: list[PlainDisk] = []
        for disk in disks:
            limits = disk.options.unpack
            if limits is None or not disk.options.finds_packed(disk.path):
                ready.append(disk)
                continue
            from guestkit._unpacking import unpacked  # only packed disks pay for this import

            name = os.fsdecode(disk.path)
            try:
                found = stack.enter_context(unpacked(disk.path, folder, limits, beat, op=op, one=one))
            except Error as error:
                if is_final(error):  # that is no fault of this disk
                    raise
                raise error.reworded(f"{name}: {error.message}") from error
            except OSError as error:
                raise Error(op, f"{name}: {error.strerror}", error.errno or 0) from error
            ready += [PlainDisk(each.path, disk.options, f"{name} ({each.inside})") for each in found]
        yield ready


@contextmanager
def disks_for(
    handle: Guestfs,
    guest: Guest,
    options: OpenDiskOptions,
    *,
    step: Callable[[str], object] | None = None,
    one: bool = False,
) -> Iterator[Sequence[PlainDisk]]:
    """Yield the disks in a form that the handle can open.

    Asking libvirt, unpacking, and starting the server of a URL count as one call: its limits apply. A server
    lasts as long as the handle.

    step: called when unpacking or connecting starts
    """
    with ExitStack() as stack:
        with ExitStack() as call:
            if isinstance(guest, Domain):
                call.enter_context(_as_call(handle))
            disks = named_disks("open_disk", handle, guest, options)
            if one and len(disks) != 1:
                raise Error(
                    "open_disk",
                    f"{names_of(guest)[0]}: has {len(disks)} disks: use open_disks()",
                    errno.EINVAL,
                )
            if what := _to_prepare(handle, disks):
                if step is not None:
                    step(what)
                folder = handle.get_tmpdir()
                call.enter_context(_as_call(handle))
                disks = [_served(handle, disk, folder) if _is_served(disk) else disk for disk in disks]
                disks = stack.enter_context(
                    plain_disks("open_disk", disks, folder, handle._check_turn, one=one)
                )
        yield disks


def _to_prepare(handle: Guestfs, disks: Sequence[PlainDisk]) -> str:
    """Return what has to be done before the handle can open them; "": nothing."""
    packed = [disk.path for disk in disks if disk.options.finds_packed(disk.path)]
    served = [disk.path for disk in disks if _is_served(disk)]
    if not packed and not served:
        return ""
    if (backend := handle.get_backend()) != "direct":
        name = _name([*packed, *served][0])
        what, remedy = ("is packed", "unpack it first") if packed else ("is a URL", "download it first")
        reason = f"the backend {backend!r} cannot be given what is private to this process"
        raise Error("open_disk", f"{name}: {what}, and {reason}: {remedy}", errno.ENOTSUP)
    return "unpacking" if packed else "connecting"


def _is_served(disk: PlainDisk) -> bool:
    """Return whether it is a URL that nbdkit is to open."""
    scheme = _scheme(disk.path)
    return scheme in SERVED and scheme in disk.options.protocols


def _scheme(path: StrOrBytesPath) -> str:
    scheme, colon, _ = os.fsdecode(path).partition("://")
    return scheme if colon else ""


def _served(handle: Guestfs, disk: PlainDisk, folder: str) -> PlainDisk:
    from guestkit._nbdkit import serving  # only URLs pay for this import

    options = disk.options
    with ExitStack() as stack:
        server = stack.enter_context(serving("open_disk", os.fsdecode(disk.path), folder, handle._check_turn))
        if not options.readonly:
            raise Error("open_disk", f"{server.name}: a disk at a URL is opened read-only", errno.EROFS)
        with server.beginning(folder, handle._check_turn) as beginning:
            if options.format is None and (kind := _kind(beginning)):
                raise Error(
                    "open_disk",
                    f"{server.name}: is {kind}, and through the network only raw disks can be checked",
                    errno.EINVAL,
                    hint="download it first: a file may have any format",
                )
        handle._keep_open(stack.pop_all())
    options = replace(options, format=options.format or "raw", protocols=(*options.protocols, "nbd"))
    return PlainDisk(server.uri, options, server.name)


def _kind(path: str) -> str:
    """Return what the file with a disk's beginning is, if that is anything but a raw disk."""
    try:
        info = probe(path)
    except Error:  # such as that it is cut off, which no raw disk is
        return "no raw disk"
    if info.format != "raw":
        return f"a disk in the format {info.format}"
    return "" if info.content in ("", "mbr", "gpt", "luks") else f"no disk but {info.content}"


def add_disks(
    handle: Guestfs,
    guest: Guest,
    options: OpenDiskOptions,
    *,
    step: Callable[[str], object] | None = None,
    one: bool = False,
) -> list[ImageInfo]:
    """Implement `Guestfs.open_disks`, or, if `one` is set, `Guestfs.open_disk`."""
    options.native("open_disk")  # a wrong one is refused before anything is done
    with disks_for(handle, guest, options, step=step, one=one) as disks:
        return open_all(handle, disks)


def open_all(handle: Guestfs, disks: Sequence[PlainDisk]) -> list[ImageInfo]:
    """Add disks that are ready."""

    def add(disk: PlainDisk) -> ImageInfo:
        with disk.named():
            native = disk.options.native("open_disk")
            return ImageInfo.from_native(handle._open_disk(disk.path, native))

    return [add(disk) for disk in disks]
