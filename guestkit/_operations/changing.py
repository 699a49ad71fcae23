"""Changes to a guest's directories, names and attributes."""

from __future__ import annotations

import errno
import posixpath
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guestkit._file_errors import about, check_regular, failure
from guestkit._operations.looking import is_directory
from guestkit._operations.looking import target as target_of
from guestkit._operations.paths import beside_links, is_same, seen_at
from guestkit._operations.replacing import aside_of, make_directories, remove_tree, replacement
from guestkit._operations.writing import copy_content, make, size_at
from guestkit.errors import Error
from guestkit.handle import Guestfs

if TYPE_CHECKING:
    from guestkit.generated.structs import StatNS

#: What a new copy keeps of the permissions of the original: neither set-id bits nor the sticky bit, and only
#: its owner can write to it.
COPIED_MODE = 0o755


def mkdir(g: Guestfs, path: str, parents: bool) -> None:
    """Make a directory. parents: and those above it that are missing."""
    with about(path):
        if parents:
            make_directories(g, posixpath.dirname(path))
        g.mkdir(path)


def makedirs(g: Guestfs, path: str, permissions: int | None = None) -> None:
    """Make a directory and all above it, as far as they are missing.

    permissions: of the directory if it is new, as in chmod(2); None: 0755
    """
    with about(path):
        seen = seen_at(g.statns, path)
        if seen is not None and not stat.S_ISDIR(seen["st_mode"]):
            raise failure(errno.EEXIST, path)
        make_directories(g, path)
        if seen is None and permissions is not None:
            g.chmod(permissions, path)


def rmdir(g: Guestfs, path: str) -> None:
    """Remove an empty directory."""
    with about(path):
        g.rmdir(path)


def remove(g: Guestfs, path: str, recursive: bool) -> None:
    """Remove a file, or a symlink itself. recursive: or a directory with all that is in it."""
    with about(path):
        if not stat.S_ISDIR(g.lstatns(path)["st_mode"]):
            g.rm(path)
        elif not recursive:
            raise failure(errno.EISDIR, path, "a directory, which only recursive=True removes")
        else:
            remove_tree(g, path)


def copy(g: Guestfs, old: str, new: str, parents: bool, keep_link: bool = False) -> None:
    """Copy the content of a file to another one in the guest, or make a directory.

    What is new gets the permissions of the first one, but is not writable for others (`COPIED_MODE`), as by
    cp(1): a copy of a secret is one, too.

    keep_link: make a symlink of the same text, where the first one is a symlink
    """
    with about(old):
        seen = (g.lstatns if keep_link else g.statns)(old)
        permissions = seen["st_mode"] & COPIED_MODE
        if stat.S_ISLNK(seen["st_mode"]):
            return _copy_link(g, old, new, parents)
        if stat.S_ISDIR(seen["st_mode"]):
            return makedirs(g, new, permissions)
        check_regular(old, seen["st_mode"])
    with about(new):
        if size_at(g, new, exclusive=False, parents=parents) is None:
            make(g, new, permissions)
        elif is_same(seen, g.statns(new)):
            raise failure(errno.EINVAL, new, "the same file as the one that is to be copied")
        copy_content(g, old, new, seen["st_size"])
    return None


def copy_tree(g: Guestfs, old: str, new: str) -> None:
    """Copy a directory with all that is in it, or another file, with owners, permissions and times.

    new: its new name, which is not there yet
    """
    with about(new):
        if seen_at(g.lstatns, new) is not None:
            raise failure(errno.EEXIST, new)
        new = beside_links(g, new)
    with about(old):
        old = beside_links(g, old)
        if _lies_in(new, old):
            raise failure(errno.EINVAL, old, "a directory is not copied into itself")
        g.cp_a(old, new)


def link(g: Guestfs, target: str, name: str, *, symbolic: bool, replace: bool) -> None:
    """Make a link, which is a name of the same file.

    symbolic: or a symlink with that text as its target, which need not be there
    replace: take the place of the file that has the name, unless it is the target itself
    """
    if not symbolic:
        with about(target):
            target = beside_links(g, target)
            if stat.S_ISDIR(g.lstatns(target)["st_mode"]):
                raise failure(errno.EPERM, target, "a directory has one name; a symlink can lead to it")
    with about(name):
        there = seen_at(g.lstatns, name)
        if there is not None and (not replace or stat.S_ISDIR(there["st_mode"])):
            raise failure(errno.EEXIST, name)
        name = beside_links(g, name)
        make = g.ln_s if symbolic else g.ln
        if there is None:
            return make(target, name)
        to = posixpath.join(posixpath.dirname(name), target)
        if any(is_same(there, seen) for seen in (seen_at(g.lstatns, to), seen_at(g.statns, to))):
            raise failure(errno.EINVAL, name, "the same file as the one that is to be linked")
        with replacement(g, name) as made:
            return make(target, made)


def move(g: Guestfs, old: str, new: str, into: bool, parents: bool) -> None:
    """Rename a file or a directory: into the directory that has the new name, or else to that name.

    into: new is a directory, or is to become one
    parents: make the directories above the new name that are missing
    """
    with about(new):
        if into or is_directory(g, new):
            new = posixpath.join(new, posixpath.basename(old))
    rename(g, old, new, replace=True, parents=parents)


def rename(g: Guestfs, old: str, new: str, replace: bool, parents: bool = False) -> None:
    """Rename a file or a directory to exactly that name, if need be on another filesystem of the guest.

    Of a file that has both names, the new one is left.

    replace: as rename(2) replaces what is there
    parents: make the directories above the new name that are missing
    """
    with about(old):
        moved = g.lstatns(old)
    with about(new):
        there = seen_at(g.lstatns, new)
        if there is not None and not replace:
            raise failure(errno.EEXIST, new)
        if is_same(moved, there):
            return _leave_one_name(g, old, new)
        if parents:
            make_directories(g, posixpath.dirname(new))
        try:
            g.rename(old, new)
        except Error as error:
            if error.errno != errno.EXDEV:
                raise
            _move_across(g, old, new, moved, there)
    return None


def symlink(g: Guestfs, path: str, target: str) -> None:
    """Make a symlink; its target may be any text."""
    with about(path):
        if seen_at(g.lstatns, path) is not None:
            raise failure(errno.EEXIST, path)
        g.ln_s(target, beside_links(g, path))


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is to change of a file; None: stays as it is.

    Attributes:
        size: in bytes
        permissions: as in chmod(2)
        owner: user and group
        times: of the last access and the last change, in seconds since 1970
    """

    size: int | None = None
    permissions: int | None = None
    owner: tuple[int, int] | None = None
    times: tuple[int, int] | None = None


def change(g: Guestfs, path: str, wanted: Attributes) -> None:
    """Change the attributes of a file; a symlink is followed in the guest."""
    with about(path):
        mode = g.statns(path)["st_mode"]
        if not stat.S_ISDIR(mode) or wanted.size is not None:
            check_regular(path, mode)
        if wanted.size is not None:
            g.truncate_size(path, wanted.size)
        if wanted.owner is not None:  # before the permissions: it takes setuid and setgid away
            g.chown(*wanted.owner, path)
        if wanted.permissions is not None:
            g.chmod(wanted.permissions, path)
        if wanted.times is not None:
            accessed, changed = wanted.times
            g.utimens(path, accessed, 0, changed, 0)


def _copy_link(g: Guestfs, old: str, new: str, parents: bool) -> None:
    if parents:
        with about(new):
            make_directories(g, posixpath.dirname(new))
    link(g, target_of(g, old), new, symbolic=True, replace=True)


def _lies_in(path: str, directory: str) -> bool:
    """Return whether a path without symlinks is below the directory."""
    return path.startswith(f"{directory.rstrip('/')}/")


def _leave_one_name(g: Guestfs, old: str, new: str) -> None:
    """Take the old name away from a file that has both: rename(2) does nothing then, and reports success.

    Both may be one name, such as "A" and "a" where case makes no difference: so nothing is removed before the
    other one is seen to be still there.
    """
    if beside_links(g, old) == beside_links(g, new):
        return
    aside = aside_of(old)
    g.rename(old, aside)
    try:
        if seen_at(g.lstatns, new) is None:
            g.rename(aside, new)
        else:
            g.rm(aside)
    except BaseException:
        with suppress(Error):
            g.rename(aside, old)
        raise


def _move_across(g: Guestfs, old: str, new: str, moved: StatNS, there: StatNS | None) -> None:
    old, new = beside_links(g, old), beside_links(g, new)
    if _lies_in(new, old):  # rename(2) looks for that only within one filesystem
        raise failure(errno.EINVAL, old, "a directory is not moved into itself")
    if there is not None:  # rename(2) would refuse it too, but only after the copy
        for_directory = stat.S_ISDIR(there["st_mode"])
        if for_directory != stat.S_ISDIR(moved["st_mode"]):
            raise failure(errno.EISDIR if for_directory else errno.ENOTDIR, new)
    with replacement(g, new) as made:
        g.cp_a(old, made)
    remove_tree(g, old)
