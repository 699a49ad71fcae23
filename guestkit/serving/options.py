"""How to serve, and what is served, as values."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Literal, get_args

Protocol = Literal["sftp", "http"]


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """How to serve a guest's files.

    Attributes:
        readonly: False: clients may write; the disk must be opened so, too
        protocols: None: both on an address that only this host reaches, else SFTP alone, since HTTP is not
            encrypted
        listen: an address of this host, or a name for it
        port: of the first protocol, and the second has the next one; 0: any that are free
        user: the one name that clients log in with
        password: a random one, unless given
    """

    readonly: bool = True
    protocols: tuple[Protocol, ...] | None = None
    listen: str = "127.0.0.1"
    port: int = 0
    user: str = "guest"
    password: str = field(default_factory=lambda: secrets.token_urlsafe(18), repr=False)

    def __post_init__(self) -> None:
        """Reject wrong options before anything is served."""
        if not isinstance(self.readonly, bool):
            raise TypeError(f"ServeOptions.readonly must be bool, not {type(self.readonly).__name__}")
        if self.protocols is not None and (
            not self.protocols or set(self.protocols) - set(get_args(Protocol))
        ):
            raise ValueError(f'protocols must be of "sftp" and "http", not {self.protocols!r}')
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port must be from 0 to 65535, not {self.port}")
        if not self.user or ":" in self.user or not self.user.isprintable():
            raise ValueError(f"user must be a name without a colon, not {self.user!r}")
        if not self.password or not self.password.isprintable():
            raise ValueError("password must be a text in one line")


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """Where clients find the files.

    Attributes:
        sftp: the URL for SFTP; "": it is not served
        host_key: the fingerprint of SFTP's host key, as OpenSSH shows it
        http: the URL for browsers and WebDAV clients; "": it is not served
    """

    user: str
    password: str = field(repr=False)
    sftp: str = ""
    host_key: str = ""
    http: str = ""
