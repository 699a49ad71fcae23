"""The server on an event loop."""

from __future__ import annotations

import asyncio
import errno
import os
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

from guestkit._extras import install, missing
from guestkit.aio.lent import Lent
from guestkit.errors import Error
from guestkit.handle import Guestfs
from guestkit.serving.bound import Bound, bind_at, resolved
from guestkit.serving.gate import Gate
from guestkit.serving.guest import GuestFiles
from guestkit.serving.options import Protocol, Served, ServeOptions

if TYPE_CHECKING:
    from guestkit.aio import AsyncGuestfs


def require() -> None:
    """Load what speaks the protocols; raise Error with ENOSYS if it is not installed, or in another release.

    `serve` does that by itself; call it before work that would be in vain.
    """
    try:
        from guestkit.serving import host_key, ssh, web  # noqa: F401
    except ImportError as error:
        library = (error.name or "").partition(".")[0]
        if library not in ("aiohttp", "asyncssh"):
            raise
        if library == "asyncssh" and not isinstance(error, ModuleNotFoundError):
            raise _unfit(str(error)) from error
        raise missing("serve", error.name, "serving", "serve") from None
    if lacking := ssh.lacking():
        raise _unfit(f"it has no {lacking}")


def _unfit(reason: str) -> Error:
    message = f"the installed release of asyncssh is none that guestkit knows: {reason}"
    return Error("serve", message, errno.ENOSYS, hint=install("serve"))


class Server:
    """Serves the filesystems that are mounted in a launched handle, as long as its context lasts.

        async with Server(g, ServeOptions(protocols=("sftp",))) as server:
            print(server.served.sftp)
            await server.ended()

    The handle stays the caller's, who does not use it meanwhile. Entering raises Error: no filesystem is
    mounted in the handle, the address cannot be used, or a library is missing (ENOSYS). With `bind` the
    address is taken before the launch.

    Attributes:
        served: the addresses and the password
    """

    served: Served

    def __init__(self, handle: Guestfs | AsyncGuestfs, options: ServeOptions | Bound | None = None) -> None:
        self._handle = handle
        self._bound = options if isinstance(options, Bound) else None
        self._options = options.options if isinstance(options, Bound) else options or ServeOptions()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(require)  # half a second, the first time
        from guestkit.serving import ssh, web
        from guestkit.serving.host_key import host_key

        options = self._options
        async with AsyncExitStack() as stack:
            bound = self._bound or bind_at(await asyncio.to_thread(resolved, options.listen), options)
            stack.enter_context(bound)
            if any(each.fileno() < 0 for each in bound.sockets.values()):
                raise Error("serve", "has served before, and its addresses are free: bind again", errno.EBADF)
            self._guest = GuestFiles(self._handle, readonly=options.readonly)
            await self._watch(stack)
            stack.push_async_callback(self._guest.close)
            gate = Gate(options.user, options.password)
            found: dict[Protocol, str] = {}
            fingerprint = ""
            for protocol, place in bound.sockets.items():
                host, port = place.getsockname()[:2]
                shown = f"[{host}]" if ":" in host else host
                if protocol == "sftp":
                    key = await asyncio.to_thread(host_key)
                    fingerprint = key.get_fingerprint()
                    listener = await ssh.listen(place, self._guest, gate, key)
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

        def ended() -> None:
            loop.remove_reader(process)  # which stays readable: the loop would come back without end
            self._guest.lost.set()

        loop.add_reader(process, ended)
        stack.callback(loop.remove_reader, process)
