"""Paths of a guest: what is there, and where symlinks lead."""

from __future__ import annotations

import posixpath
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING

from guestkit._file_errors import NOT_THERE
from guestkit.errors import Error
from guestkit.handle import Guestfs

if TYPE_CHECKING:
    from guestkit.generated.structs import StatNS


def seen_at(call: Callable[[str], StatNS], path: str) -> StatNS | None:
    """Return what statns or lstatns says, None if there is no such file."""
    try:
        return call(path)
    except Error as error:
        if error.errno not in NOT_THERE:
            raise
        return None


def is_same(one: StatNS | None, other: StatNS | None) -> bool:
    """Return whether both are there, and the same file."""
    if one is None or other is None:
        return False
    return (one["st_dev"], one["st_ino"]) == (other["st_dev"], other["st_ino"])


def beside_links(g: Guestfs, path: str) -> str:
    """Return the path with its directory resolved: `rm_rf` and `cp_a` would follow links out of the guest."""
    directory, name = posixpath.split(path)
    return posixpath.join(resolved(g, directory), name)


def resolved(g: Guestfs, path: str) -> str:
    """Return the path without symlinks: `realpath`, but faster where there are none."""
    part = path
    while part != "/":
        if stat.S_ISLNK(g.lstatns(part)["st_mode"]):
            return g.realpath(path)
        part = posixpath.dirname(part)
    return path
