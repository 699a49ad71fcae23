"""The server on an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

from guestkit.errors import Error
from guestkit.fs.connection import Lent
from guestkit.handle import Guestfs
from guestkit.serving import sftp, web
from guestkit.serving.gate import Gate
from guestkit.serving.guest import Guest
from guestkit.serving.host_key import host_key
from guestkit.serving.options import Protocol, Served, ServeOptions

if TYPE_CHECKING:
    from guestkit.aio import AsyncGuestfs

_log = logging.getLogger("guestkit")


class Server:
    """Serves the filesystems that are mounted in a launched handle, as long as its context lasts.

        async with Server(g, ServeOptions(protocols=("sftp",))) as server:
            print(server.served.sftp)
            await server.ended()

    The handle stays the caller's, who does not use it meanwhile. Entering raises Error: no filesystem is
    mounted in the handle, or the address cannot be used.

    Attributes:
        served: the addresses and the password
    """

    served: Served

    def __init__(self, handle: Guestfs | AsyncGuestfs, options: ServeOptions | None = None) -> None:
        self._handle = handle
        self._options = options or ServeOptions()

    async def __aenter__(self) -> Self:
        options = self._options
        self._guest = Guest(self._handle, readonly=options.readonly)
        async with AsyncExitStack() as stack:
            await self._watch(stack)
            stack.push_async_callback(self._guest.close)
            gate = Gate(options.user, options.password)
            address = await _resolved(options.listen)
            found: dict[Protocol, str] = {}
            fingerprint = ""
            for number, protocol in enumerate(_protocols(options, address)):
                place = stack.enter_context(_bound(address, options.port + number if options.port else 0))
                host, port = place.getsockname()[:2]
                shown = f"[{host}]" if ":" in host else host
                if protocol == "sftp":
                    key = await asyncio.to_thread(host_key)
                    fingerprint = key.get_fingerprint()
                    listener = await sftp.listen(place, self._guest, gate, key)
                    stack.push_async_callback(listener.close)
                    found[protocol] = f"sftp://{quote(options.user, safe='')}@{shown}:{port}/"
                else:
                    runner = await web.listen(place, self._guest, gate)
                    stack.push_async_callback(runner.cleanup)
                    found[protocol] = f"http://{shown}:{port}/"
            self.served = Served(
                user=options.user,
                password=options.password,
                sftp=found.get("sftp", ""),
                host_key=fingerprint,
                http=found.get("http", ""),
            )
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def ended(self) -> None:
        """Wait until the hypervisor ends, if ever, and raise Error with EIO."""
        await self._guest.lost.wait()
        lost = "" if self._options.readonly else ", and what was written last may be lost"
        raise Error("serve", f"the hypervisor has ended: nothing more can be served{lost}", errno.EIO)

    async def _watch(self, stack: AsyncExitStack) -> None:
        """Notice the end of the hypervisor, although nobody asks for a file."""

        def mounted(g: Guestfs) -> int:
            g.is_dir("/")  # fails if no filesystem is mounted in the handle
            return os.pidfd_open(g.get_pid())

        process = await Lent(self._handle).run(mounted)
        stack.callback(os.close, process)
        loop = asyncio.get_running_loop()
        loop.add_reader(process, self._guest.lost.set)
        stack.callback(loop.remove_reader, process)


async def _resolved(name: str) -> tuple[socket.AddressFamily, str]:
    try:
        (family, _, _, _, address), *_ = await asyncio.get_running_loop().getaddrinfo(
            name, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", "") or "no name of an address"
        raise Error("serve", f"{name}: {reason}", errno.EADDRNOTAVAIL) from error
    return family, str(address[0])


def _protocols(options: ServeOptions, address: tuple[socket.AddressFamily, str]) -> tuple[Protocol, ...]:
    private = ipaddress.ip_address(address[1].partition("%")[0]).is_loopback
    if options.protocols is None:
        return ("sftp", "http") if private else ("sftp",)
    if "http" in options.protocols and not private:
        _log.warning("HTTP is not encrypted: who is on the network can read the password and the files")
    return options.protocols


@contextlib.contextmanager
def _bound(address: tuple[socket.AddressFamily, str], port: int) -> Iterator[socket.socket]:
    family, host = address
    if port > 65535:  # the one after the last
        raise Error("serve", f"{host}: there is no port {port}", errno.EADDRNOTAVAIL)
    try:
        place = socket.create_server((host, port), family=family)
    except OSError as error:
        number = error.errno or 0  # create_server's own text has the address, too
        raise Error("serve", f"{host}, port {port}: {os.strerror(number)}", number) from error
    with place:
        yield place
