"""A guest's files for SFTP and WebDAV clients and browsers: no FUSE, no privilege.

    with open_guest("web.qcow2") as g:
        serve(g, ready=print)

The names here are public; the modules of this package are not.

asyncssh speaks SFTP, and aiohttp HTTP, both on the event loop on which the guest's calls take turns: no
thread waits for a slow client. The few methods of WebDAV are guestkit's own, and parse no XML. wsgidav, the
library for them, has a thread wait for each client, and takes names for text.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import threading
from collections.abc import Callable
from concurrent.futures import Future

from guestkit.errors import Error
from guestkit.handle import Guestfs
from guestkit.serving.bound import Bound, bind
from guestkit.serving.options import Protocol, Served, ServeOptions
from guestkit.serving.server import Server, require

__all__ = ["Bound", "Protocol", "ServeOptions", "Served", "Server", "bind", "require", "serve"]

#: How long a call in the guest may still take when the server is ended, in seconds.
_GRACE = 10


def serve(
    g: Guestfs,
    options: ServeOptions | Bound | None = None,
    *,
    ready: Callable[[Served], object] = lambda served: None,
) -> None:
    """Serve the filesystems that are mounted in the handle, until an exception in this thread, as by Ctrl-C.

    For a handle that no other thread uses. When it raises, all clients are cut off, and what they have
    written is on the disk. `Server` is the same for asyncio. Raises Error: no filesystem is mounted in the
    handle, the address cannot be used, a library is missing (ENOSYS), or the hypervisor has ended (EIO).

    options: how to serve, or what `bind` returned before the launch; its addresses are free at the end
    ready: called with the addresses and the password when clients can connect
    """
    require()
    with options if isinstance(options, Bound) else bind(options or ServeOptions()) as bound:
        _serve(g, bound, ready)


def _serve(g: Guestfs, bound: Bound, ready: Callable[[Served], object]) -> None:
    begun: Future[Callable[[], object]] = Future()
    served: Future[Served] = Future()
    ended: Future[None] = Future()

    async def until_the_end() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        begun.set_result(lambda: loop.call_soon_threadsafe(task.cancel))
        async with Server(g, bound) as server:
            served.set_result(server.served)
            await server.ended()

    def work() -> None:
        try:
            asyncio.run(until_the_end())
        except BaseException as error:
            begun.cancel()  # if there was no loop to be had
            (ended if served.done() else served).set_exception(error)

    # On a thread of its own, so that a signal's exception reaches this one, and no callback of the loop.
    thread = threading.Thread(target=work, name="guestkit-serve")
    try:
        thread.start()
        ready(served.result())
        ended.result()  # which it has only by an exception
    except BaseException as error:
        if not begun.cancel():  # else it never begins, although Ctrl-C may have come while the thread started
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                begun.result()()
        if thread.is_alive():
            thread.join(_GRACE)
        if thread.is_alive():  # the guest does not answer
            g.terminate()
            thread.join()
        if not bound.options.readonly and not isinstance(error, Error):
            _keep(g)
        raise


def _keep(g: Guestfs) -> None:
    """Have everything written to the disk: the end of the handle does not tell of errors."""
    try:
        g.sync()
    except Error as error:
        message = "the guest does not answer any more: what was written last may be lost"
        raise Error("serve", message, errno.EIO) from error
