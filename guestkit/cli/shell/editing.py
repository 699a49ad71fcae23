"""`edit`: a file of the guest in the user's own editor."""

from __future__ import annotations

import errno
import posixpath
import re
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from guestkit import _operations as operations
from guestkit._file_errors import about, check_regular, failure
from guestkit.cli.shell import paging
from guestkit.cli.shell.session import Session
from guestkit.errors import Error

#: The largest file that is edited, in bytes.
LARGEST = 16 << 20


def edit(session: Session, path: str) -> None:
    """Edit a private copy of the file, and put it in the file's place if it was changed.

    The file changes as a whole or not at all. A file that is not there is made, if something was written. If
    the copy cannot be written back, or a signal ends the editor or this program, what was written stays, and
    the error says where.
    """
    before = _content(session, path) or b""
    folder = Path(tempfile.mkdtemp(prefix="guestkit-edit-"))  # nobody else may look into it
    copy = folder / _name(path)
    at_stake = False
    kept: Path | None = None
    try:
        copy.touch(0o600)
        copy.write_bytes(before)
        command = [*paging.program(["VISUAL", "EDITOR"], "vi"), str(copy)]
        at_stake = True
        try:
            status = paging.run(command, reads=not session.script_on_stdin)
        except OSError as error:
            raise failure(
                error.errno or errno.ENOENT, command[0], f"{error.strerror}: $EDITOR chooses another"
            ) from None
        if status != 0:
            at_stake = not 0 < status < 128  # a signal has ended it; otherwise the user wants none of it
            raise failure(errno.ECANCELED, path, f"not changed: the editor ended with status {status}")
        if not copy.is_file() or copy.stat().st_size > LARGEST:
            raise failure(errno.EFBIG, path, "not changed: the edited copy is gone, or larger than 16 MiB")
        after = copy.read_bytes()
        if after == before:
            session.screen.note(f"{path}: not changed")
            return
        names = _replace(session, path, after)
        at_stake = False
        if names > 1:
            session.screen.tell("warning", f"{path}: its other names (hard links) keep the old content")
    except BaseException as error:
        kept = _written(folder, copy, before) if at_stake else None
        if kept is not None:
            error.add_note(f"your text is in {kept}")
        raise
    finally:
        if kept is None:
            shutil.rmtree(folder, ignore_errors=True)


def _written(folder: Path, copy: Path, before: bytes) -> Path | None:
    """Return where the user's text is: the copy, or the folder, where editors save it when they are ended."""
    if copy.is_file() and (copy.stat().st_size != len(before) or copy.read_bytes() != before):
        return copy
    return folder if any(other != copy for other in folder.iterdir()) else None


def _content(session: Session, path: str) -> bytes | None:
    """Return the content of the file, None if there is none."""
    try:
        with about(path):
            mode = session.g.statns(path)["st_mode"]
        check_regular(path, mode)
        return operations.read(session.g, path, None, None, LARGEST)
    except FileNotFoundError:
        with about(path):
            parent = session.g.statns(posixpath.dirname(path))["st_mode"]
        if not stat.S_ISDIR(parent):
            raise failure(errno.ENOTDIR, path) from None
        return None


def _name(path: str) -> str:
    """Return a name for the copy: the guest's as far as it is harmless, since editors look at its end."""
    name = re.sub(r"[^\w.+-]", "_", posixpath.basename(path), flags=re.ASCII)[-100:]
    return name if name[:1].isalnum() else f"_{name}"


def _replace(session: Session, path: str, content: bytes) -> int:
    """Put a new file in the place of the old one; return how many names that had."""
    place = operations.begin(session.g, path, "w", aside=True, parents=False)
    try:
        operations.write(session.g, place.path, content, place.offset)
        names = operations.link_count(session.g, place.final)
        operations.settle(session.g, place, keep=True)
    except BaseException:
        with suppress(OSError, Error):
            operations.settle(session.g, place, keep=False)
        raise
    return names
