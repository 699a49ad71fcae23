"""Making and removing trees in a guest, and files that take the place of others once they are complete."""

from __future__ import annotations

import errno
import posixpath
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from guestkit._file_errors import failure
from guestkit._operations.paths import beside_links
from guestkit.errors import Error
from guestkit.handle import Guestfs


def make_directories(g: Guestfs, path: str) -> None:
    """Make a directory and those above it, as far as they are missing; raise OSError or Error."""
    try:
        g.mkdir_p(path)
    except Error as error:
        if error.errno:
            raise
        raise failure(errno.ENOTDIR, path) from error  # the one failure that libguestfs finds by itself


def remove_tree(g: Guestfs, path: str) -> None:
    """Remove a file, or a directory with all that is in it; never the guest's root."""
    if path == "/":
        raise failure(errno.EPERM, path, "the root of the guest is not removed")
    g.rm_rf(beside_links(g, path))


@contextmanager
def replacement(g: Guestfs, path: str) -> Iterator[str]:
    """Yield the name under which to make what takes the place of that file in the end.

    If something fails, the file stays as it was, and what was made is removed.
    path: in a directory whose path has no symlinks
    """
    made = aside_of(path)
    with or_removed(g, made):
        yield made
        g.rename(made, path)


def aside_of(path: str) -> str:
    """Return an unused name in the same directory."""
    return posixpath.join(posixpath.dirname(path), f".guestkit-{secrets.token_hex(8)}")


@contextmanager
def or_removed(g: Guestfs, made: str) -> Iterator[None]:
    """Remove what was made if something fails."""
    try:
        yield
    except BaseException:
        with suppress(OSError, Error):
            remove_tree(g, made)
        raise
