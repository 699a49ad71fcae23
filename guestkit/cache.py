"""The results of inspections, kept for disks that have not changed: `guestkit.inspect(disk, cache=True)`.

Each result is a file in a private directory, named after what was asked and what the disks are; one that was
not used for long makes room for others. docs/cache.md says what is kept and what is not.
"""

from __future__ import annotations

import base64
import errno
import gzip
import hashlib
import json
import logging
import os
import re
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guestkit import _native
from guestkit._aside import new_file
from guestkit._identity import Unidentified, identify
from guestkit._text import printable
from guestkit.disks import PlainDisk
from guestkit.errors import Error
from guestkit.inspection import Inspection, InspectOptions

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath

    from guestkit.handle import Guestfs

__all__ = ["LARGEST", "cached"]

#: How much room all results may take, in bytes.
LARGEST = 256 << 20

#: What the names of all files end with.
_SUFFIX = ".inspection"
_OURS = re.compile(rf"(\.guestkit-[0-9a-f]{{16}}|[0-9a-f]{{64}}){re.escape(_SUFFIX)}")

#: The form of what is kept.
_FORM = "guestkit-inspections 1"

_log = logging.getLogger("guestkit")


def cached(
    handle: Guestfs,
    find_disks: Callable[[], Sequence[PlainDisk]],
    options: InspectOptions,
    appliance: StrOrBytesPath,
    inspect: Callable[[], Inspection],
) -> Inspection:
    """Return what is on the disks: the result that is kept, else that of inspect(), which is then kept.

    Raises what inspect() raises, and Error (EACCES) if the directory `options.cache` is not this user's
    alone.

    handle: not launched; it tells which libguestfs there is
    find_disks: tells which disks the guest has at that moment
    appliance: which one the handle would launch
    """
    assert options.cache is not None
    store = _Store(options.cache)
    try:
        disks = find_disks()
        before = identify(disks)
    except Unidentified as error:
        return _unkept(inspect(), str(error))
    question = _question(handle, options, appliance)
    key = hashlib.sha256(f"{question}\n{before.text}".encode(errors="surrogateescape")).hexdigest()
    if (found := store.get(key)) is not None:
        return found
    result = inspect()
    if reason := before.young or _doubt(result):
        return _unkept(result, reason)
    try:
        changed = identify(find_disks()) != before  # libvirt may call other disks the guest's by now
    except Unidentified as error:
        return _unkept(result, str(error))
    if changed:
        return _unkept(result, f"{os.fsdecode(disks[0].path)}: has changed meanwhile")
    store.put(key, result)
    return result


def _unkept(result: Inspection, reason: str) -> Inspection:
    _log.info("the inspection is not cached: %s", printable(reason))
    return result


def _doubt(result: Inspection) -> str:
    """Return why another inspection of the same disks may find more; "" if it cannot."""
    failures = [*result.failures, *(one for system in result.operating_systems for one in system.failures)]
    if failures:
        return f"{failures[0].part}: {failures[0].message}"
    if result.unopened:
        return f"{result.unopened[0].device} was not opened: {result.unopened[0].reason}"
    return ""


def _question(handle: Guestfs, options: InspectOptions, appliance: StrOrBytesPath) -> str:
    """Return what the answer depends on beside the disks. Which files may be opened is not asked here.

    That is decided anew each time, when the disks are identified.
    """
    module = os.stat(_native.__file__)  # guestkit's version and rules are compiled into it
    opening = options.opening
    return repr(
        (
            _FORM,
            (module.st_size, module.st_mtime_ns, module.st_ctime_ns),
            sorted(handle.version().items()),
            (os.fsencode(appliance), handle.get_path()),
            (sorted(options.parts), options.mode),
            (opening.format, opening.snapshot, opening.blocksize, opening.unpack),
        )
    )


class _Store:
    """A directory of results. Any number of processes may use it at once: files only appear and go whole."""

    def __init__(self, directory: Path) -> None:
        fault = _native.make_private_directory(directory, 0o700)
        seen = None if fault else directory.stat()
        if seen is not None and (seen.st_uid != os.geteuid() or seen.st_mode & 0o077):
            fault = f"{directory} is not a directory of this user alone (chmod 700 repairs its mode)"
        if fault:
            raise Error("inspect", f"the cache of inspections cannot be used: {fault}", errno.EACCES)
        self._directory = directory

    def get(self, key: str) -> Inspection | None:
        """Return what is kept; None if nothing is, or if it is damaged."""
        try:
            with open(self._directory / f"{key}{_SUFFIX}", "rb") as file:
                found = _revived(gzip.decompress(file.read()))
                os.utime(file.fileno())  # for `_make_room`: it was used
                return found
        except FileNotFoundError:
            return None
        except (OSError, EOFError, zlib.error, ValueError, LookupError, TypeError) as error:
            _log.info("%s is damaged: %s", self._directory / key, error)
            return None

    def put(self, key: str, result: Inspection) -> None:
        """Keep the result. If that fails, such as on a full disk, say so in the log."""
        text = json.dumps(result.to_dict(), separators=(",", ":"))
        try:
            with new_file(self._directory / f"{key}{_SUFFIX}", mode=0o600) as file:
                file.write(gzip.compress(text.encode(), 1))
            self._make_room()
        except FileNotFoundError:  # another process has made room
            return
        except OSError as error:
            _log.warning("the inspection is not cached: %s: %s", self._directory, error.strerror)

    def _make_room(self) -> None:
        """Remove what was not used for longest, which is also what a killed process has left."""
        kept = []
        with os.scandir(self._directory) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # another process makes room as well
                    if not _OURS.fullmatch(entry.name):  # the user may have named any directory
                        continue
                    seen = entry.stat(follow_symlinks=False)
                    kept.append((seen.st_mtime_ns, seen.st_blocks * 512, entry.path))
        left = sum(size for _, size, _ in kept)
        for _, size, path in sorted(kept):
            if left <= LARGEST:
                return
            with suppress(FileNotFoundError):
                os.unlink(path)
            left -= size


def _revived(text: bytes) -> Inspection:
    """Return the inspection whose `to_dict` that is, with the mark that it was kept."""
    found: dict[str, Any] = _with_tuples(json.loads(text))
    del found["schema"]
    for system in found["operating_systems"]:
        if system["icon"] is not None:
            system["icon"] = base64.b64decode(system["icon"])
    result = Inspection.from_native(found)
    return replace(result, provenance=replace(result.provenance, cached=True))


def _with_tuples(value: Any) -> Any:
    """Return what was read from JSON, with tuples for its lists, as an inspection has them."""
    if isinstance(value, list):
        return tuple(map(_with_tuples, value))
    if isinstance(value, dict):
        return {name: _with_tuples(one) for name, one in value.items()}
    return value
