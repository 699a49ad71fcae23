"""The addresses of this host at which clients connect, taken before there is a guest to serve."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import logging
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from guestkit.errors import Error
from guestkit.serving.options import Protocol, ServeOptions

_log = logging.getLogger("guestkit")


@dataclass(frozen=True)
class Bound:
    """How to serve, with the addresses already taken: `serve` and `Server` take it in place of the options.

    A context: at its end the addresses are free. It serves once: so they are at the end of serving.

    Attributes:
        sockets: where clients can connect; they wait until the guest is served
    """

    options: ServeOptions
    sockets: Mapping[Protocol, socket.socket]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for each in self.sockets.values():
            each.close()


def bind(options: ServeOptions) -> Bound:
    """Take the addresses, before a launch that would be in vain without them.

        with bind(ServeOptions(port=2022)) as bound, open_guest("web.qcow2") as g:
            serve(g, bound)

    Raises Error: an address cannot be used.
    """
    return bind_at(resolved(options.listen), options)


def resolved(name: str) -> tuple[socket.AddressFamily, str]:
    """Return the address to listen at."""
    try:
        (family, _, _, _, address), *_ = socket.getaddrinfo(
            name, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", "") or "no name of an address"
        raise Error("serve", f"{name}: {reason}", errno.EADDRNOTAVAIL) from error
    return family, str(address[0])


def bind_at(address: tuple[socket.AddressFamily, str], options: ServeOptions) -> Bound:
    """Do what `bind` does, with the address that `resolved` has returned: without waiting."""
    with contextlib.ExitStack() as stack:
        sockets = {
            protocol: stack.enter_context(_socket(address, options.port + number if options.port else 0))
            for number, protocol in enumerate(_protocols(options, address))
        }
        stack.pop_all()
    return Bound(options, sockets)


def _protocols(options: ServeOptions, address: tuple[socket.AddressFamily, str]) -> tuple[Protocol, ...]:
    private = ipaddress.ip_address(address[1].partition("%")[0]).is_loopback
    if options.protocols is None:
        return ("sftp", "http") if private else ("sftp",)
    if "http" in options.protocols and not private:
        _log.warning("HTTP is not encrypted: who is on the network can read the password and the files")
    return options.protocols


def _socket(address: tuple[socket.AddressFamily, str], port: int) -> socket.socket:
    family, host = address
    if port > 65535:  # the one after the last
        raise Error("serve", f"{host}: there is no port {port}", errno.EADDRNOTAVAIL)
    try:
        # It listens, too: else another program could take the port until it does.
        return socket.create_server((host, port), family=family)
    except OSError as error:
        number = error.errno or 0  # create_server's own text has the address, too
        hint = "choose another port" if number == errno.EADDRINUSE else ""
        raise Error("serve", f"{host}, port {port}: {os.strerror(number)}", number, hint=hint) from error
