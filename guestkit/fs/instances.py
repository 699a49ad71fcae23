"""Which instances of `GuestFileSystem` are one: fsspec shares those whose options have the same text."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from fsspec.asyn import AsyncFileSystem  # type: ignore[import-untyped]

from guestkit.aio.lent import Lent
from guestkit.disks import Domain, Guest
from guestkit.inspection import Key, checked_keys
from guestkit.opening import Under


class Shared(type(AsyncFileSystem)):  # type: ignore[misc]
    """Names the same disk in the same way: fsspec compares the text of the options to share instances."""

    def __call__(cls, *args: Any, **options: Any) -> Any:
        if len(args) > 1:
            raise TypeError(f"GuestFileSystem() takes one disk, or a sequence of disks, not {len(args)}")
        if args and options.setdefault("fo", args[0]) is not args[0]:
            raise TypeError("GuestFileSystem() got its disk twice, by its place and as 'fo'")
        return super().__call__(**dict(sorted(_named(options).items())))


def _named(options: dict[str, Any]) -> dict[str, Any]:
    if options.get("handle") is not None:
        if options.get("fo") is not None:
            raise TypeError("GuestFileSystem() takes a disk or a handle, not both")
        if not isinstance(options["handle"], Lent):
            options["handle"] = Lent(options["handle"])
        options["skip_instance_cache"] = True  # the cache would keep the caller's handle for ever
        return options
    options["fo"] = named_in_full(options.get("fo"), options.pop("target_protocol", None))
    options.pop("target_options", None)
    if isinstance(backing := options.get("backing"), Under):
        options["backing"] = Under(os.path.abspath(os.fsdecode(backing.directory)))
    if keys := checked_keys(options.pop("keys", ())):
        options["keys"] = _Keys(keys)
    return options


def named_in_full(given: Any, protocol: str | None = None) -> Guest:
    """Return the names of the disks, in full: a process with another current directory may open them."""
    if isinstance(given, Domain):
        return given
    if protocol not in (None, "file", "local"):
        raise ValueError(
            f"guestkit opens no disks by {protocol}://: copy the disk to this host, or let fsspec do it: "
            f'GuestFileSystem(fsspec.open_local("simplecache::{protocol}://…"))'
        )
    several = [given] if isinstance(given, (str, bytes, os.PathLike)) else given
    if not isinstance(several, Sequence) or not several:
        raise TypeError(
            "GuestFileSystem() needs the path of a disk, as in guestkit:///etc/hosts::file:///images/web.qcow2"
            f' or GuestFileSystem("web.qcow2"), not {given!r}'
        )
    names = [re.sub("^(file|local)://", "", os.fsdecode(one)) for one in several]
    return tuple(name if "://" in name else os.path.abspath(name) for name in names)


class _Keys:
    """Keys whose text differs where they do, though it does not tell them: see `Shared`."""

    _SALT = secrets.token_bytes(16)

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = tuple(keys)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys)

    def __repr__(self) -> str:
        text = repr([key._native() for key in self._keys]).encode()
        digest = hashlib.blake2b(text, key=self._SALT, digest_size=16).hexdigest()
        return f"<{len(self._keys)} keys {digest}>"
