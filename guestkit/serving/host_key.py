"""The host key of SFTP: one for this user, kept, so that clients recognise it."""

from __future__ import annotations

import contextlib
import logging
import os
import stat
from pathlib import Path

import asyncssh

from guestkit._aside import new_file
from guestkit.appliance import own_cache
from guestkit.errors import ApplianceError, Error, said

_log = logging.getLogger("guestkit")

_KIND = "ssh-ed25519"
_NAME = "ssh_host_ed25519_key"


def host_key() -> asyncssh.SSHKey:
    """Return the key in guestkit's cache, which only this user can read; made when it is first needed.

    Where there is no cache that no other user can change, it is a new one each time, with a warning.
    """
    try:
        path = own_cache() / _NAME
    except ApplianceError as error:
        why = "; ".join(filter(None, said(error)))
        _log.warning("SFTP's host key is not kept, so clients will not know it again: %s", why)
        return asyncssh.generate_private_key(_KIND)
    try:
        with contextlib.suppress(FileNotFoundError):
            return _read(path)
        _make(path)
        return _read(path)
    except (OSError, asyncssh.KeyImportError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Error("serve", f"SFTP has no host key: {path}: {reason}") from error


def _read(path: Path) -> asyncssh.SSHKey:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    with open(descriptor, "rb") as file:
        seen = os.fstat(file.fileno())
        if not stat.S_ISREG(seen.st_mode) or seen.st_uid != os.geteuid() or seen.st_mode & 0o077:
            raise PermissionError(0, "others may read or write it: remove it, and another one is made", path)
        return asyncssh.import_private_key(file.read(65536))


def _make(path: Path) -> None:
    key = asyncssh.generate_private_key(_KIND).export_private_key()
    with (
        contextlib.suppress(FileExistsError),  # another process was faster
        new_file(path, mode=0o600, replace=False) as file,
    ):
        file.write(key)
