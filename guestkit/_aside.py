"""What is written aside gets its name when it is complete, so that no other program sees half of it.

Names are chosen before anything has them, which tempfile cannot do: Ctrl-C between its making a file and the
caller's `with` would leave the file behind.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from guestkit.errors import Error

#: How filesystems say that they have no hard links, as FAT and many that are reached through a network.
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


@contextmanager
def unfinished(parent: Path) -> Iterator[Path]:
    """Yield a new directory of this user alone, removed afterwards with all that is still in it."""
    folder = _new_name(parent)
    try:
        folder.mkdir(0o700)
        yield folder
    finally:
        try:
            shutil.rmtree(folder, ignore_errors=True)
        except KeyboardInterrupt:  # one may come when all else is done; another one ends this, too
            shutil.rmtree(folder, ignore_errors=True)
            raise


@contextmanager
def new_file(target: Path, *, mode: int = 0o666, replace: bool = True) -> Iterator[BinaryIO]:
    """Yield a file that `put` gives the name of the target, once the block has ended without an exception.

    Until then its name ends as the target's does, and errors name the target. mode: as in open(2), if there
    is no such file yet
    """
    new = _new_name(target.parent, target.suffix)
    old = _permissions(target) if replace else None
    if old is not None:
        mode &= 0o600
    try:
        with open(new, "xb", opener=lambda path, flags: os.open(path, flags, mode)) as file:
            yield file
            file.flush()
            if old is not None:
                os.fchmod(file.fileno(), old)
            os.fsync(file.fileno())
        _name(new, target, replace)
    except OSError as error:
        if error.filename not in (new, str(new)):
            raise
        raise OSError(error.errno, error.strerror, str(target)) from error
    finally:
        with suppress(OSError):  # it has its name by now, or was never made
            os.unlink(new)


@contextmanager
def new_path(op: str, target: Path, *, replace: bool, hint: str = "") -> Iterator[Path]:
    """Yield a path for another program's file, which is synced and `put` in the target's place afterwards.

    Raises Error of op that names the target if it is there already, with the hint what to do about it, or if
    nothing can be written there.
    """
    with ExitStack() as stack:
        with naming(op, target, hint):
            folder = stack.enter_context(unfinished(target.parent))
        new = folder / target.name  # some formats keep it, as vmdk
        yield new
        with naming(op, target, hint):
            _sync(new)
            put(new, target, replace=replace)
            _sync(target.parent)


def is_there(op: str, target: Path, hint: str = "") -> Error:
    """Return the error for a target that is there already."""
    return Error(op, f"{target}: is there already", errno.EEXIST, "already_exists", hint)


@contextmanager
def naming(op: str, target: Path, hint: str = "") -> Iterator[None]:
    """Raise OSError as Error of op about the target: nobody knows the file beside it."""
    try:
        yield
    except FileExistsError as error:
        raise is_there(op, target, hint) from error
    except OSError as error:
        raise Error(op, f"{target}: {error.strerror}", error.errno or 0) from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def put(new: Path, target: Path, *, replace: bool) -> None:
    """Give a finished file the name of the target.

    Raises FileExistsError if that is taken, unless `replace`: then the new file gets the permissions of the
    old one, too.
    """
    if replace and (old := _permissions(target)) is not None:
        # By descriptor: in a directory of another user's, the name may lead to another file by now.
        file = os.open(new, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fchmod(file, old)
        finally:
            os.close(file)
    _name(new, target, replace)


def _name(new: Path, target: Path, replace: bool) -> None:
    if replace:
        os.replace(new, target)
        return
    try:
        os.link(new, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _put_without_links(new, target)


def _put_without_links(new: Path, target: Path) -> None:
    made = False
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        made = True
        os.replace(new, target)
        made = False
    finally:
        if made:
            os.unlink(target)


def _permissions(path: Path) -> int | None:
    """Return the permissions of a regular file of this user's; None if there is none of that name.

    What another user may do with a file of theirs is not for them to say of ours.
    """
    try:
        seen = os.lstat(path)
    except FileNotFoundError:
        return None
    return seen.st_mode & 0o777 if stat.S_ISREG(seen.st_mode) and seen.st_uid == os.geteuid() else None


def _new_name(parent: Path, suffix: str = "") -> Path:
    return parent / f".guestkit-{secrets.token_hex(8)}{suffix}"
