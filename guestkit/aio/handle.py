"""`AsyncGuestfs`: the handle for asyncio.

libguestfs blocks, so every call runs on a thread of an executor, never on the event loop's. Each handle has a
queue in front of the executor: its calls run in the order in which they were made, and it occupies at most
one thread, so that a busy handle cannot starve the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import threading
import warnings
import weakref
from collections.abc import AsyncGenerator, Callable, Collection, Iterable
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar, Unpack

from guestkit.aio import streams
from guestkit.aio.actions import AsyncActions
from guestkit.aio.call import Call, OnCancel, until_done, until_written
from guestkit.aio.events import EventStream, on_loop
from guestkit.aio.executor import post, run_in_thread, thread_based
from guestkit.aio.queue import CallQueue
from guestkit.disks import Guest, add_disks
from guestkit.errors import Error, HandleClosed
from guestkit.events import Event, EventCallback
from guestkit.files import MAX_BYTES, MAX_DEPTH, MAX_ENTRIES, SMALL_FILE, Extracted, GuestFile
from guestkit.generated.values import LaunchInfo, Mounted
from guestkit.handle import Guestfs, PathT, end_mount, refuse_to_pickle
from guestkit.handle_options import HandleKeywords, HandleOptions, name_options_of, options_from
from guestkit.images import ImageInfo
from guestkit.inspection import DEFAULT_PARTS, Inspection, InspectOptions, Key, Mode, Part
from guestkit.opening import OpenDiskOptions, OpeningKeywords, opening_from

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath

    from guestkit.aio.streams import Source

T = TypeVar("T")

log = logging.getLogger("guestkit")


class AsyncGuestfs(AsyncActions):
    """A libguestfs handle whose calls are awaited: every action of `Guestfs`, with the same arguments.

        async with AsyncGuestfs() as g:
            await g.open_disk("disk.qcow2")
            await g.launch()
            for root in await g.inspect_os():
                print(printable(await g.inspect_get_product_name(root)))

    A call is queued when it is made, not when it is awaited; `set_event_callback`, `delete_event_callback`,
    `launch_info`, `mount_info` and `user_cancel` wait for no call, and do nothing until they are awaited. A
    handle belongs to the event loop of its first call and must be used on that loop's thread.
    """

    def __init__(
        self,
        options: HandleOptions | None = None,
        /,
        *,
        executor: Executor | None = None,
        **keywords: Unpack[HandleKeywords],
    ) -> None:
        """Prepare a handle; the underlying libguestfs handle is created by the first call.

        options, keywords: as in `Guestfs`
        executor: run this handle's calls there instead of on the process' executor (`set_executor`)
        """
        options = options_from(options, keywords)
        self._calls = CallQueue(options, thread_based(executor))
        self._pid = os.getpid()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None  # the loop's
        self._closed: asyncio.Future[None] | None = None
        self._streams: weakref.WeakSet[EventStream] = weakref.WeakSet()
        _handles.add(self)

    def __repr__(self) -> str:
        state = "open" if self._closed is None else "closed" if self._closed.done() else "closing"
        return f"<guestkit.{type(self).__name__} {state}, {len(self._calls)} calls waiting>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        refuse_to_pickle(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            await self.close()
            return
        self._calls.cancel_all()
        try:
            await self.close()
        except Exception:  # the body's own exception wins
            log.warning("closing a handle failed while an exception was on its way", exc_info=True)

    @property
    def _handle(self) -> Guestfs | None:
        """The blocking handle; None before the first call."""
        return self._calls.handle

    def __del__(self) -> None:
        made = hasattr(self, "_calls")  # __init__ may have failed
        if made and self._handle is not None and self._handle.is_open():
            warnings.warn(f"{self!r} was never closed", ResourceWarning, stacklevel=2, source=self)
            self._reap()

    def _reap(self) -> None:
        """Close a handle that has no calls and will get none, on a thread of its own; return at once.

        For whoever drops a handle on purpose: any thread may call it, even the garbage collector's.
        """
        handle = self._calls.take_handle()
        if handle is None or not handle.is_open():
            return
        # Closing waits for the hypervisor, so it must not run in the garbage collector, which may use any
        # thread. The interpreter waits for this one: else a program that ends just then leaves the
        # hypervisor and its files. No thread can start while the interpreter exits; then the handle's exit
        # function closes it.
        with contextlib.suppress(RuntimeError):
            threading.Thread(target=handle.close, name="guestkit-reaper").start()

    def run(self, function: Callable[[Guestfs], T], *, on_cancel: OnCancel = "end") -> Call[T]:
        """Run a function with the blocking handle as one turn: many calls for one switch between threads.

        The function runs on a thread of the executor and must not keep the handle. It may launch it: until
        the handle has been launched, its functions have threads of their own, unless an executor is set. To
        launch a handle again after a shutdown, use `launch`. A cancel ends the call it is making, and every
        later call it makes.
        """
        return self._submit("run", function, on_cancel=on_cancel)

    async def set_event_callback(self, callback: EventCallback, events: Event | int = Event.ALL) -> int:
        """Run the callback on the event loop at each of these events; return the registration number.

        Does not wait for the running call, whose events it gets from now on. Events arrive in order, a moment
        after libguestfs sent them. Exceptions of the callback go to the loop's exception handler.
        """
        deliver = on_loop("set_event_callback", "callback", callback)
        return (await self._made("set_event_callback")).set_event_callback(deliver, events)

    async def delete_event_callback(self, number: int) -> None:
        """Remove the callback with that registration number; this does not wait for the running call."""
        handle = await self._made("delete_event_callback")
        await run_in_thread("delete_event_callback", partial(handle.delete_event_callback, number))

    def open_disk(
        self,
        path: StrOrBytesPath,
        *,
        readonly: bool = True,
        on_cancel: OnCancel = "end",
        **opening: Unpack[OpeningKeywords],
    ) -> Call[ImageInfo]:
        """Add an untrusted disk, before `launch`: as `Guestfs.open_disk`."""
        options = opening_from("open_disk", opening, readonly=readonly)
        return self._submit(
            "open_disk", lambda handle: add_disks(handle, path, options, one=True)[0], on_cancel=on_cancel
        )

    def open_disks(
        self,
        disks: Guest,
        *,
        readonly: bool = True,
        on_cancel: OnCancel = "end",
        **opening: Unpack[OpeningKeywords],
    ) -> Call[list[ImageInfo]]:
        """Add all disks of a guest, before `launch`: as `Guestfs.open_disks`."""
        options = opening_from("open_disks", opening, readonly=readonly)
        return self._submit(
            "open_disks", lambda handle: add_disks(handle, disks, options), on_cancel=on_cancel
        )

    async def launch_info(self) -> LaunchInfo | None:
        """Return how the last successful launch went; None before the first. Waits for no call."""
        self._bind("launch_info")
        return None if self._handle is None else self._handle.launch_info()

    async def mount_info(self) -> Mounted | None:
        """Return what `open_guest` has mounted: as `Guestfs.mount_info`. Waits for no call."""
        self._bind("mount_info")
        return None if self._handle is None else self._handle.mount_info()

    def inspect(
        self,
        *,
        parts: Collection[Part] = DEFAULT_PARTS,
        keys: Iterable[Key] = (),
        mode: Mode = "auto",
        verify: bool = False,
        step: Callable[[str], object] | None = None,
        on_cancel: OnCancel = "end",
    ) -> Call[Inspection]:
        """Return what is on the launched handle's disks: as `Guestfs.inspect`; step is called on the loop."""
        follow = None if step is None else on_loop("inspect", "step", step)
        options = InspectOptions(parts=parts, keys=keys, mode=mode, verify=verify, step=follow)
        return self._submit("inspect", lambda handle: handle._inspect_disks((), options), on_cancel=on_cancel)

    def read_small(
        self, path: StrOrBytesPath, *, limit: int = SMALL_FILE, on_cancel: OnCancel = "end"
    ) -> Call[bytes]:
        """Return the content of a small file: as `Guestfs.read_small`."""
        return self._submit(
            "read_small", lambda handle: handle.read_small(path, limit=limit), on_cancel=on_cancel
        )

    def read_files(
        self, paths: Iterable[PathT], *, limit: int = SMALL_FILE, on_cancel: OnCancel = "end"
    ) -> Call[dict[PathT, bytes | Error]]:
        """Return the contents of small files by path: as `Guestfs.read_files`."""
        return self._submit(
            "read_files", lambda handle: handle.read_files(paths, limit=limit), on_cancel=on_cancel
        )

    def walk(
        self,
        directory: StrOrBytesPath,
        *,
        max_depth: int = MAX_DEPTH,
        max_entries: int = MAX_ENTRIES,
        on_cancel: OnCancel = "end",
    ) -> Call[list[GuestFile]]:
        """Return every file below a directory: as `Guestfs.walk`."""
        return self._submit(
            "walk",
            lambda handle: handle.walk(directory, max_depth=max_depth, max_entries=max_entries),
            on_cancel=on_cancel,
        )

    def extract(
        self,
        path: StrOrBytesPath,
        host_directory: StrOrBytesPath,
        *,
        max_bytes: int = MAX_BYTES,
        max_entries: int = MAX_ENTRIES,
        progress: Callable[[str, int], object] | None = None,
        on_cancel: OnCancel = "end",
    ) -> Call[Extracted]:
        """Copy a file or a tree from the guest into a directory on the host: as `Guestfs.extract`.

        progress is called on the loop.
        """
        tell = None if progress is None else on_loop("extract", "progress", progress)

        def extract(handle: Guestfs) -> Extracted:
            return handle.extract(
                path, host_directory, max_bytes=max_bytes, max_entries=max_entries, progress=tell
            )

        return self._submit("extract", extract, on_cancel=on_cancel)

    @contextlib.asynccontextmanager
    async def mounted(
        self, directory: StrOrBytesPath, *, readonly: bool = True, allow_other: bool = False
    ) -> AsyncGenerator[Path, None]:
        """Show what is mounted in the handle in an empty directory of this host: as `Guestfs.mounted`.

            async with g.mounted("mnt") as path:
                await asyncio.create_subprocess_exec("cp", "-a", path / "etc", "backup")

        Keep the directory off the event loop's own thread, which would wait for the guest. Calls of the
        handle raise Error meanwhile. A cancel unmounts it.
        """
        call = self._submit(
            "mounted", lambda handle: handle._mount(directory, readonly, allow_other, False), alone=False
        )
        try:
            yield Path(await call)
        except BaseException:  # the block's own exception wins
            if call.succeeded():
                try:
                    await self._apart(end_mount)
                except Error as error:  # no thread can be started; close() will unmount it
                    log.warning("%s", error)
            raise
        await self._apart(Guestfs._unmount)

    async def _apart(self, function: Callable[[Guestfs], T]) -> T:
        """Run what ends a mount on a thread of its own, without a turn; a cancel does not stop it."""
        assert self._handle is not None
        outcome = run_in_thread("mounted", partial(function, self._handle))
        return await until_written(outcome)

    def events(self, events: Event | int = Event.ALL, *, maxsize: int = 1000) -> EventStream:
        """Iterate over these events as they come, from now until the handle is closed or the stream dropped.

            async for message in g.events(Event.APPLIANCE | Event.PROGRESS):
                print(message.event.name, repr(message.text), message.numbers)

        maxsize: how many events are buffered; beyond that the oldest is dropped and counted
            (`EventStream.dropped`)
        """
        loop = self._bind("events")
        stream = EventStream(loop, maxsize)
        if self._closed is not None:
            stream._end()
            return stream
        self._streams.add(stream)
        listener = stream._listener(partial(_unregister, weakref.ref(self)))
        self._calls.listen(listener, events)
        return stream

    def download_stream(self, remotefilename: StrOrBytesPath) -> AsyncGenerator[bytes, None]:
        """Iterate over the content of a guest's file, in chunks of at most 1 MiB.

            async for chunk in g.download_stream("/var/log/syslog"):
                target.write(chunk)

        The transfer is queued when the iteration begins. It waits while the program is busy: at most one
        chunk is buffered. Leaving the loop early ends the transfer (use `contextlib.aclosing` to control
        when); the handle stays usable. The caller may keep the chunks.
        """
        return streams.read(
            self._submit, "download_stream", lambda handle, file: handle.download(remotefilename, file)
        )

    def tar_out_stream(
        self,
        directory: StrOrBytesPath,
        compress: StrOrBytesPath | None = None,
        numericowner: bool | None = None,
        excludes: Iterable[StrOrBytesPath] | None = None,
        xattrs: bool | None = None,
        selinux: bool | None = None,
        acls: bool | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """Iterate over a tar of a guest's directory, as `download_stream`; options as in `tar_out`."""

        def transfer(handle: Guestfs, file: str) -> None:
            handle.tar_out(
                directory,
                file,
                compress=compress,
                numericowner=numericowner,
                excludes=excludes,
                xattrs=xattrs,
                selinux=selinux,
                acls=acls,
            )

        return streams.read(self._submit, "tar_out_stream", transfer)

    async def upload_stream(self, source: Source, remotefilename: StrOrBytesPath) -> None:
        """Write the bytes that the source yields, an iterable or async iterable, to a file in the guest.

        The source is read only when there is room. If it raises, or the caller is cancelled, the upload ends
        and leaves a partial file; the handle stays usable.
        """

        def transfer(handle: Guestfs, file: str) -> None:
            handle.upload(file, remotefilename)

        await streams.write(self._submit, self._calls.was_stopped, "upload_stream", transfer, source)

    async def tar_in_stream(
        self,
        source: Source,
        directory: StrOrBytesPath,
        compress: StrOrBytesPath | None = None,
        xattrs: bool | None = None,
        selinux: bool | None = None,
        acls: bool | None = None,
        keepdirlink: bool | None = None,
    ) -> None:
        """Unpack an archive into a guest's directory; source as in `upload_stream`, options as in `tar_in`.

        keepdirlink: raises TypeError if the installed libguestfs does not have it
        """
        newer = {} if keepdirlink is None else {"keepdirlink": keepdirlink}

        def transfer(handle: Guestfs, file: str) -> None:
            handle.tar_in(
                file, directory, compress=compress, xattrs=xattrs, selinux=selinux, acls=acls, **newer
            )

        await streams.write(self._submit, self._calls.was_stopped, "tar_in_stream", transfer, source)

    async def user_cancel(self) -> None:  # type: ignore[override]  # has no turn that a cancel could end
        """Stop the running upload or download at once; this does not wait in the queue."""
        self._bind("user_cancel")
        if self._handle is not None:
            await run_in_thread("user_cancel", self._handle.user_cancel)

    def terminate(self) -> None:
        """Kill the handle's hypervisor at once: for signal handlers, `finally` and other threads.

        Waits for nothing. The running call raises ApplianceKilled; waiting and new calls raise HandleClosed.
        Whatever the guest has not yet written to its disks is lost. Call `close` afterwards.
        """
        if self._pid != os.getpid():  # the parent's handle; its lock may have been held during the fork
            return
        self._calls.terminate()
        if self._loop is not None:
            post(self._loop, self._calls.abandon)

    async def close(self) -> None:
        """Wait for the calls already made, then shut the appliance down and free the handle.

        From now on new calls raise HandleClosed. Closing twice is harmless: a second close waits for the
        first. A cancel does not stop it; CancelledError is raised once the handle is closed. `close_timeout`
        applies once the calls have ended. If it raises, the handle is still open: close it again.
        """
        loop = self._bind("close")
        if self._closed is None:
            self._closed = loop.create_future()
            self._calls.drain(partial(self._finish, self._closed))
        await until_done(self._closed, lambda: None)

    def _submit(
        self,
        name: str,
        function: Callable[[Guestfs], T],
        progress: Callable[[int, int], object] | None = None,
        on_cancel: OnCancel = "end",
        alone: bool = True,
    ) -> Call[T]:
        """Queue a call.

        alone: whether the thread that runs the function has the handle's turn, so that a cancel ends whatever
            the function does
        """
        self._bind_open(name)
        call = Call(name, function, self._cancel, progress, on_cancel, alone)
        self._calls.put(call)
        return call

    async def _made(self, name: str) -> Guestfs:
        """Return the blocking handle for what needs no turn; make it if no call has."""
        self._bind_open(name)
        if self._handle is not None:
            return self._handle
        return await run_in_thread(name, partial(self._calls.made, name))

    def _cancel(self, call: Call[Any]) -> None:
        """End a call. A method of the handle, so that a call keeps that alive until it has ended."""
        self._calls.cancel(call)

    def _bind(self, name: str) -> asyncio.AbstractEventLoop:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(f"AsyncGuestfs.{name}() needs a running event loop of asyncio") from None
        if self._pid != os.getpid():
            raise HandleClosed(
                name,
                "the handle belongs to the process before the fork; open one in this process",
                errno.EBADF,
            )
        if self._loop is None:
            self._loop = loop
            self._thread = threading.current_thread()
        if self._loop is not loop:
            raise RuntimeError(f"AsyncGuestfs.{name}(): the handle belongs to another event loop")
        return loop

    def _bind_open(self, name: str) -> None:
        self._bind(name)
        if self._closed is not None or self._calls.is_terminated:
            state = "terminated" if self._closed is None else "closed"
            raise HandleClosed(name, f"the handle is {state}", errno.EBADF)

    def _finish(self, closed: asyncio.Future[None]) -> None:
        """Close the C handle on its own thread: it must not wait for a free one in the pool."""
        try:
            outcome = run_in_thread("close", self._calls.close)
        except Error:  # no thread can be started: block the loop rather than leave an appliance behind
            outcome = closed.get_loop().create_future()
            try:
                self._calls.close()
                outcome.set_result(None)
            except Error as error:
                outcome.set_exception(error)

        def finished(outcome: asyncio.Future[None]) -> None:
            if (error := outcome.exception()) is not None:
                self._closed = None
                closed.set_exception(error)
                return
            for stream in self._streams:
                stream._end()
            closed.set_result(None)

        outcome.add_done_callback(finished)


name_options_of(AsyncGuestfs.__init__, HandleOptions())
name_options_of(AsyncGuestfs.open_disk, OpenDiskOptions())
name_options_of(AsyncGuestfs.open_disks, OpenDiskOptions())


def _unregister(whose: weakref.ref[AsyncGuestfs], number: int) -> None:
    """End an event callback, from inside it. It must not keep the handle alive that has it."""
    if (g := whose()) is not None and g._handle is not None:
        with contextlib.suppress(Error):  # being closed
            g._handle.delete_event_callback(number)


_handles: weakref.WeakSet[AsyncGuestfs] = weakref.WeakSet()


def _end_forgotten() -> None:
    """Kill the hypervisors of handles that nobody can wait for any more.

    Their loop is gone, or runs in a daemon thread, which ends with the process. The interpreter joins the
    executor's threads before it runs any other exit function, and such a thread may be in a call that never
    ends.
    """
    for handle in list(_handles):
        loop, inner = handle._loop, handle._handle
        if loop is None or handle._thread is None or inner is None or not inner.is_open():
            continue
        if not loop.is_running() or (handle._thread.daemon and not inner.is_idle()):
            end_mount(inner)
            inner.terminate()


# The only hook that runs before threads are joined is the one concurrent.futures uses: private, but unchanged
# since 3.9.
threading._register_atexit(_end_forgotten)  # type: ignore[attr-defined]
