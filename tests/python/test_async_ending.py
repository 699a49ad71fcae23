"""Ending work on an AsyncGuestfs, without an appliance: a hypervisor that hangs, functions that block."""

from __future__ import annotations

import asyncio
import errno
import logging
import re
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from blockbuster import BlockingError, blockbuster_ctx

from guestkit import (
    ApplianceKilled,
    AsyncDiskConverter,
    AsyncGuestfs,
    CallTimeout,
    Error,
    Event,
    Guestfs,
    HandleClosed,
    LaunchError,
    aio,
    set_appliance_limit,
    set_executor,
)
from guestkit.aio import executor
from guestkit.aio.call import OnCancel
from guestkit.aio.lent import Lent
from guestkit.aio.streams import CHUNK

#: Seconds; only something that hangs takes longer.
PATIENCE = 20

T = TypeVar("T")


def is_gone(process: int) -> bool:
    """Return whether the process has ended; a zombie counts as ended."""
    try:
        return ") Z " in Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return True


async def launching(g: AsyncGuestfs, hypervisor: Any) -> asyncio.Task[None]:
    """Make the handle launch a hypervisor that hangs; return once it runs."""
    await g.run(hypervisor.serve)
    launch = asyncio.ensure_future(g.launch())
    await asyncio.to_thread(hypervisor.wait_until_started)
    return launch


async def test_a_cancelled_launch_is_killed_and_leaves_no_hypervisor(hypervisor: Any) -> None:
    async with AsyncGuestfs(environment=False, accel="tcg") as g:
        launch = await launching(g, hypervisor)
        launch.cancel()
        with pytest.raises(asyncio.CancelledError):
            await launch
        assert is_gone(hypervisor.pid)
        with pytest.raises(ApplianceKilled, match="launch was cancelled"):
            await g.get_memsize()


async def test_a_launch_in_asyncio_timeout_is_killed(hypervisor: Any) -> None:
    async with AsyncGuestfs(environment=False, accel="tcg") as g:
        await g.run(hypervisor.serve)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await g.launch()
        hypervisor.wait_until_started()
        assert is_gone(hypervisor.pid)


async def test_the_launch_timeout_names_the_call_and_the_time(hypervisor: Any) -> None:
    async with AsyncGuestfs(environment=False, accel="tcg", launch_timeout=0.2) as g:
        await g.run(hypervisor.serve)
        with pytest.raises(CallTimeout, match=r"launch: took longer than 0\.2 s \(launch_timeout\)"):
            await g.launch()


async def test_on_cancel_wait_lets_the_call_end_by_itself(hypervisor: Any) -> None:
    async with AsyncGuestfs(environment=False, accel="tcg") as g:
        await g.run(hypervisor.serve)
        call = g.launch(on_cancel="wait")
        task = asyncio.ensure_future(call)
        await asyncio.to_thread(hypervisor.wait_until_started)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=0.1)
        assert not done
        assert not is_gone(hypervisor.pid)
        hypervisor.release()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(LaunchError):
            await call


async def test_a_second_cancel_does_not_lose_the_clean_up(hypervisor: Any) -> None:
    async with AsyncGuestfs(environment=False, accel="tcg") as g:
        launch = await launching(g, hypervisor)
        launch.cancel()
        await asyncio.sleep(0)
        launch.cancel()
        with pytest.raises(asyncio.CancelledError):
            await launch
        assert is_gone(hypervisor.pid)


async def test_terminate_ends_what_runs_and_what_waits(hypervisor: Any) -> None:
    g = AsyncGuestfs(environment=False, accel="tcg")
    launch = await launching(g, hypervisor)
    waiting = g.get_memsize()
    g.terminate()
    with pytest.raises(ApplianceKilled, match=r"terminate\(\) was called"):
        await launch
    with pytest.raises(HandleClosed, match="terminated before the call's turn"):
        await waiting
    with pytest.raises(HandleClosed, match="the handle is terminated"):
        _ = g.get_memsize()
    assert is_gone(hypervisor.pid)
    await g.close()


async def test_terminate_of_a_handle_that_was_never_used() -> None:
    g = AsyncGuestfs()
    g.terminate()
    with pytest.raises(HandleClosed):
        _ = g.get_memsize()
    await g.close()


@pytest.mark.parametrize("how", ["closed", "terminated"])
async def test_a_handle_that_was_closed_was_said_to_be_terminated(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The callback's thread has not made the handle yet when that ends."""
    g, ends = AsyncGuestfs(), threading.Event()
    made = g._calls.made
    monkeypatch.setattr(g._calls, "made", lambda op: made(op) if ends.wait(PATIENCE) else None)
    registering = asyncio.create_task(g.set_event_callback(lambda *_: None))
    await asyncio.sleep(0)
    if how == "terminated":
        g.terminate()
    await g.close()
    ends.set()
    with pytest.raises(HandleClosed, match=f"the handle was {how} before the call's turn"):
        await registering


async def test_leaving_the_block_by_an_exception_ends_the_launch(hypervisor: Any) -> None:
    with pytest.raises(LookupError):
        async with AsyncGuestfs(environment=False, accel="tcg") as g:
            await launching(g, hypervisor)
            raise LookupError
    assert is_gone(hypervisor.pid)


async def test_a_call_that_waits_longer_than_the_queue_timeout_never_runs() -> None:
    opened = threading.Event()
    async with AsyncGuestfs(queue_timeout=0.1) as g:
        first = g.run(lambda handle: opened.wait(PATIENCE))
        second = g.set_memsize(700)
        with pytest.raises(
            CallTimeout, match=r"set_memsize: waited longer than 0\.1 s .*did not run"
        ) as caught:
            await second
        assert caught.value.clock == "queue_timeout"
        opened.set()
        assert await first is True
        assert await g.get_memsize() == 1280


@pytest.mark.parametrize("how", ["launch", "run"])
async def test_launches_that_wait_for_memory_leave_other_handles_their_threads(
    how: str, hypervisor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: 64 waiting launches occupied every thread; handles that could free memory had none.

    First all launches did so, later those that a function for `run()` makes.
    """

    def launch_it(handle: Guestfs) -> None:
        hypervisor.serve(handle)
        handle.launch()

    monkeypatch.setattr(executor, "MAX_THREADS", 1)
    monkeypatch.setattr(executor, "_own", {})
    with Guestfs(environment=False, accel="tcg") as running:
        hypervisor.launch(running)
        set_appliance_limit(1)
        try:
            async with AsyncGuestfs(environment=False, accel="tcg") as waiting, AsyncGuestfs() as other:
                if how == "launch":
                    await waiting.run(hypervisor.serve)
                    launch = asyncio.ensure_future(waiting.launch())
                else:
                    launch = asyncio.ensure_future(waiting.run(launch_it))
                async with asyncio.timeout(PATIENCE):
                    assert await other.get_memsize() == 1280
                    if how == "launch":  # what prepares another handle must not wait for launches either
                        async with AsyncGuestfs() as fresh:
                            assert await fresh.run(lambda handle: handle.get_memsize()) == 1280
                assert not launch.done()
                launch.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await launch
        finally:
            set_appliance_limit(None)
        running.terminate()


async def test_the_queue_timeout_counts_the_wait_for_a_thread() -> None:
    opened = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        busy, idle = AsyncGuestfs(executor=pool), AsyncGuestfs(executor=pool, queue_timeout=0.1)
        async with busy, idle:
            first = busy.run(lambda handle: opened.wait(PATIENCE))
            with pytest.raises(CallTimeout):
                await idle.set_memsize(700)
            opened.set()
            await first
            assert await idle.get_memsize() == 1280


@pytest.mark.parametrize("timeout", [0.1, None])
async def test_a_call_that_waited_for_the_turn_of_its_handle_could_not_be_taken_back(
    timeout: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, asked, opened = (threading.Event() for _ in range(3))
    begin = Guestfs._begin_turn

    def begin_turn(handle: Guestfs, name: str) -> None:
        if name == "set_memsize":
            asked.set()
        begin(handle, name)

    def occupy(handle: Guestfs) -> None:
        handle._begin_turn("occupy")
        taken.set()
        opened.wait(PATIENCE)
        handle._end_turn()

    monkeypatch.setattr(Guestfs, "_begin_turn", begin_turn)
    async with AsyncGuestfs(queue_timeout=timeout) as g:
        other = asyncio.ensure_future(asyncio.to_thread(occupy, await g.run(lambda handle: handle)))
        try:
            assert await asyncio.to_thread(taken.wait, PATIENCE)
            call = asyncio.ensure_future(g.set_memsize(700))
            assert await asyncio.to_thread(asked.wait, PATIENCE)
            if timeout is None:
                call.cancel()
            await asyncio.wait([call], timeout=PATIENCE / 2)
            assert call.done()
        finally:
            opened.set()
            await other
        with pytest.raises(asyncio.CancelledError if timeout is None else CallTimeout):
            await call
        assert await g.get_memsize() == 1280


@contextmanager
def full_pool() -> Iterator[ThreadPoolExecutor]:
    """Yield a pool whose only thread is busy for as long as the block lasts."""
    opened = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(opened.wait)
        try:
            yield pool
        finally:
            opened.set()


async def ended(awaited: Coroutine[Any, Any, T] | asyncio.Future[T]) -> asyncio.Future[T]:
    """Wait for the end of what must not wait for the pool, and return it."""
    task = asyncio.ensure_future(awaited)
    done, _ = await asyncio.wait([task], timeout=PATIENCE)
    assert done, "it waits for a thread of the pool"
    return task


@pytest.mark.parametrize("on_cancel", ["end", "wait"])
async def test_a_cancel_waited_for_a_free_thread(on_cancel: OnCancel) -> None:
    ran: list[Guestfs] = []
    with full_pool() as pool:
        g = AsyncGuestfs(executor=pool)
        task = asyncio.ensure_future(g.run(ran.append, on_cancel=on_cancel))
        await asyncio.sleep(0)
        task.cancel()
        assert (await ended(task)).cancelled()
        next_call = g.get_memsize()
    assert await next_call == 1280
    await g.close()
    assert ran == []


async def test_terminate_and_close_waited_for_a_free_thread() -> None:
    ran: list[Guestfs] = []
    with full_pool() as pool:
        g = AsyncGuestfs(executor=pool)
        calls = [g.run(ran.append), g.run(ran.append)]
        g.terminate()
        for call in calls:
            with pytest.raises(HandleClosed, match="terminated before the call's turn"):
                (await ended(call)).result()
        (await ended(g.close())).result()
    assert ran == []


async def test_leaving_the_block_by_an_exception_waited_for_a_free_thread() -> None:
    ran: list[Guestfs] = []

    async def body(pool: ThreadPoolExecutor) -> None:
        async with AsyncGuestfs(executor=pool) as g:
            _ = g.run(ran.append), g.run(ran.append)
            raise LookupError

    with full_pool() as pool, pytest.raises(LookupError):
        (await ended(body(pool))).result()
    assert ran == []


async def test_a_mount_that_waits_for_a_thread_is_withdrawn_with_the_others() -> None:
    with full_pool() as pool:
        g = AsyncGuestfs(executor=pool)
        serving, call = g.mount_local_run(), g.get_memsize()
        g.terminate()
        for waiting in (serving, call):
            with pytest.raises(HandleClosed):
                (await ended(waiting)).result()
        await g.close()


async def test_close_waited_for_ever_for_an_executor_that_dropped_an_expired_call() -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    with full_pool() as pool:
        g = AsyncGuestfs(executor=pool, queue_timeout=0.01)
        with pytest.raises(CallTimeout):
            (await ended(g.get_memsize())).result()
        closing = asyncio.ensure_future(g.close())
        pool.shutdown(wait=False, cancel_futures=True)
        (await ended(closing)).result()
    assert complaints == []


async def test_a_call_that_its_executor_dropped_seemed_to_be_cancelled() -> None:
    """A task group took that for the end of a task that somebody had cancelled, and went on."""
    with full_pool() as pool:
        g = AsyncGuestfs(executor=pool)
        set_executor(pool)
        try:
            conversion = AsyncDiskConverter().check("disk", "qcow2")
            tasks: list[asyncio.Future[Any]] = [*map(asyncio.ensure_future, (g.get_memsize(), conversion))]
            await asyncio.sleep(0)  # their first steps
        finally:
            set_executor(None)
        pool.shutdown(wait=False, cancel_futures=True)
        for task in tasks:
            with pytest.raises(RuntimeError, match="the executor was shut down .*it did not run"):
                (await ended(task)).result()
        await g.close()


async def test_writes_that_a_cancelled_end_of_a_mount_had_lost_were_told_to_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    begun, opened = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def unmount(handle: Guestfs) -> None:
        loop.call_soon_threadsafe(begun.set)
        assert opened.wait(PATIENCE)
        raise Error("mounted", "what was written last may be lost", errno.EIO)

    async def body(g: AsyncGuestfs) -> None:
        async with g.mounted("mnt", readonly=False):
            pass

    monkeypatch.setattr(Guestfs, "_mount", lambda *_: "mnt")
    monkeypatch.setattr(Guestfs, "_unmount", unmount)
    async with AsyncGuestfs() as g:
        mounting = asyncio.create_task(body(g))
        await begun.wait()
        mounting.cancel()
        await asyncio.sleep(0)
        opened.set()
        with pytest.raises(asyncio.CancelledError):
            await mounting
    assert "what was written last may be lost" in caplog.text


async def test_the_end_of_a_mount_closed_the_handle_a_second_time() -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    begun, opened = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def serve(handle: Guestfs) -> None:
        loop.call_soon_threadsafe(begun.set)
        opened.wait(PATIENCE)

    g = AsyncGuestfs()
    serving = g._submit("mount_local_run", serve)
    await begun.wait()
    closing = asyncio.ensure_future(g.close())
    await asyncio.sleep(0)
    opened.set()
    await serving
    await closing
    for thread in threading.enumerate():
        if thread.name == "guestkit-control":
            await asyncio.to_thread(thread.join)
    await asyncio.sleep(0)
    assert complaints == []


async def test_a_close_that_failed_could_not_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one raised what the first had, calls were refused, and the appliance lived on."""
    in_use, close = [True], Guestfs.close

    def refuse(handle: Guestfs) -> None:
        if in_use:
            raise Error("close", "/mnt: who serves it does not end", errno.ETIMEDOUT)
        close(handle)

    monkeypatch.setattr(Guestfs, "close", refuse)
    g = AsyncGuestfs()
    events = g.events(Event.CLOSE)
    await g.get_memsize()
    for closing in asyncio.ensure_future(g.close()), asyncio.ensure_future(g.close()):
        with pytest.raises(Error, match="does not end"):
            await closing
    assert await g.get_memsize() == 1280
    in_use.clear()
    await g.close()
    assert g._handle is not None
    assert not g._handle.is_open()
    assert [message.event async for message in events] == [Event.CLOSE]


async def test_a_cancel_of_a_conversion_waited_for_a_free_thread(tmp_path: Path) -> None:
    with full_pool() as pool:
        set_executor(pool)
        try:
            for work in (
                AsyncDiskConverter().create_disk(tmp_path / "disk", 1 << 20),
                AsyncDiskConverter().check(tmp_path / "disk", "qcow2"),
            ):
                task = asyncio.ensure_future(work)
                await asyncio.sleep(0)
                task.cancel()
                assert (await ended(task)).cancelled()
        finally:
            set_executor(None)
    assert list(tmp_path.iterdir()) == []


async def test_a_cancel_on_a_borrowed_handle_waited_for_a_free_thread() -> None:
    ran: list[Guestfs] = []
    with full_pool() as pool, Guestfs() as g:
        set_executor(pool)
        try:
            task = asyncio.ensure_future(Lent(g).run(ran.append))
            await asyncio.sleep(0)
            task.cancel()
            assert (await ended(task)).cancelled()
        finally:
            set_executor(None)
    assert ran == []


async def test_the_calls_of_a_cancelled_function_are_refused() -> None:
    begun, cancelled = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    errors: list[Error] = []

    def function(handle: Guestfs) -> None:
        loop.call_soon_threadsafe(begun.set)
        assert cancelled.wait(PATIENCE)
        try:
            handle.get_memsize()
        except Error as error:
            errors.append(error)

    async with AsyncGuestfs() as g:
        task = asyncio.ensure_future(g.run(function))
        await begun.wait()
        task.cancel()
        await asyncio.sleep(0)
        cancelled.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [str(error) for error in errors] == ["get_memsize: cancelled"]
        assert await g.get_memsize() == 1280


class Source:
    """Chunks for an upload: once the first is asked for, the second one has no room in the pipe."""

    def __init__(self) -> None:
        self.full, self.ended = asyncio.Event(), False

    def plain(self) -> Iterator[bytes]:
        try:
            self.full.set()  # what waits for it runs when the upload waits for room
            yield bytes(2 * CHUNK)
        finally:
            self.ended = True

    async def awaited(self) -> AsyncIterator[bytes]:
        try:
            self.full.set()
            yield bytes(2 * CHUNK)
        finally:
            await asyncio.sleep(0)  # its clean-up may take a while
            self.ended = True

    async def stubborn(self) -> AsyncIterator[bytes]:
        """Catch what asks it to end, and yield on."""
        try:
            self.full.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            yield bytes(2 * CHUNK)
            yield bytes(2 * CHUNK)
        finally:
            self.ended = True

    def iterable(self) -> AsyncIterable[bytes]:
        class Chunks:
            def __aiter__(_) -> AsyncIterator[bytes]:
                return self.awaited()

        return Chunks()


@pytest.mark.parametrize("kind", [Source.plain, Source.awaited, Source.stubborn, Source.iterable])
@pytest.mark.parametrize("how", ["cancelled", "failed"])
async def test_an_upload_returned_before_its_source_had_ended(
    how: str, kind: Callable[[Source], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It left that to the garbage collector, which came when the exception was forgotten."""
    source, ends = Source(), threading.Event()

    def upload(handle: Guestfs, file: str, name: str) -> None:
        ends.wait(PATIENCE)
        raise Error("upload", "no room in the guest")

    monkeypatch.setattr(Guestfs, "upload", upload)
    monkeypatch.setattr(Guestfs, "cancel", lambda handle: ends.set())
    async with AsyncGuestfs() as g:
        uploading = asyncio.ensure_future(g.upload_stream(kind(source), "/file"))
        await asyncio.wait_for(source.full.wait(), PATIENCE)
        if how == "cancelled":
            uploading.cancel()
        else:
            ends.set()
        await asyncio.wait([uploading], timeout=PATIENCE)
        assert source.ended
        with pytest.raises(asyncio.CancelledError if how == "cancelled" else Error):
            uploading.result()


async def _turns() -> None:
    """Let everything that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_second_cancel_left_the_download_running(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, ends, over = asyncio.Event(), threading.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def download(handle: Guestfs, name: str, file: str) -> None:
        loop.call_soon_threadsafe(begun.set)
        assert ends.wait(PATIENCE)
        over.set()

    async def read(g: AsyncGuestfs) -> list[bytes]:
        return [chunk async for chunk in g.download_stream("/file")]

    monkeypatch.setattr(Guestfs, "download", download)
    async with AsyncGuestfs() as g:
        reading = asyncio.create_task(read(g))
        await asyncio.wait_for(begun.wait(), PATIENCE)
        for _ in "12":
            reading.cancel()
            await _turns()
        assert not reading.done()
        ends.set()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert over.is_set()


async def test_a_second_cancel_waits_for_the_source_of_an_upload(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, cleaned, ends = asyncio.Event(), asyncio.Event(), threading.Event()

    async def source() -> AsyncIterator[bytes]:
        try:
            begun.set()
            yield bytes(2 * CHUNK)
        finally:
            await cleaned.wait()

    monkeypatch.setattr(Guestfs, "upload", lambda handle, file, name: ends.wait(PATIENCE))
    monkeypatch.setattr(Guestfs, "cancel", lambda handle: ends.set())
    async with AsyncGuestfs() as g:
        uploading = asyncio.create_task(g.upload_stream(source(), "/file"))
        await asyncio.wait_for(begun.wait(), PATIENCE)
        for _ in "12":
            uploading.cancel()
            await _turns()
        assert not uploading.done()
        assert not ends.is_set()
        cleaned.set()
        with pytest.raises(asyncio.CancelledError):
            await uploading


async def test_an_upload_leaves_what_is_no_generator_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Guestfs, "upload", lambda handle, file, name: Path(file).read_bytes())
    (tmp_path / "lines").write_bytes(b"one\ntwo\n")
    with open(tmp_path / "lines", "rb") as file:  # noqa: ASYNC230
        async with AsyncGuestfs() as g:
            await g.upload_stream(file, "/lines")
        assert not file.closed


async def test_events_come_as_an_async_iterator_that_ends_with_the_handle() -> None:
    g = AsyncGuestfs()
    stream = g.events(Event.ENTER | Event.CLOSE)
    await g.get_memsize()
    await g.get_smp()
    await g.close()
    messages = [message async for message in stream]
    entered = [m.text for m in messages if m.event is Event.ENTER]
    assert [name for name in entered if name in ("get_memsize", "get_smp")] == ["get_memsize", "get_smp"]
    assert messages[-1].event is Event.CLOSE
    assert stream.dropped == 0


async def test_a_slow_reader_loses_the_oldest_events_and_knows_how_many() -> None:
    async with AsyncGuestfs() as g:
        await g.get_smp()
        stream = g.events(Event.ENTER, maxsize=3)
        for _ in range(10):
            await g.get_memsize()
        dropped = stream.dropped
        assert dropped >= 7
    assert len([message async for message in stream]) == 3


@pytest.mark.parametrize("how", ["dropped", "closed"])
async def test_a_stream_that_has_ended_was_kept_with_its_events(how: str) -> None:
    async with AsyncGuestfs() as g:
        await g.get_smp()
        stream = g.events(Event.ENTER)
        gone = weakref.ref(stream)
        await g.get_memsize()
        if how == "closed":
            await stream.aclose()
            await g.get_memsize()
            assert [message async for message in stream] == []
        del stream
        await g.get_memsize()
        assert gone() is None
        assert g._handle is not None
        with pytest.raises(Error, match="no event callback of that number"):
            g._handle.delete_event_callback(0)


async def test_events_of_a_closed_handle_end_at_once() -> None:
    g = AsyncGuestfs()
    await g.close()
    assert [message async for message in g.events()] == []


async def test_wrong_options_of_a_call_are_refused() -> None:
    async with AsyncGuestfs() as g:
        wrong: Any = "never"
        with pytest.raises(ValueError, match="launch.. argument 'on_cancel' must be"):
            _ = g.launch(on_cancel=wrong)
        with pytest.raises(TypeError, match="launch.. argument 'progress' must be callable, not str"):
            _ = g.launch(progress=wrong)
        with pytest.raises(TypeError):
            _ = g.mount("/dev/sda1", "/", progress=print)  # type: ignore[call-arg]
            await _


def test_a_loop_closed_before_the_result_comes_leaves_no_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    opened = threading.Event()
    handles = []

    async def main() -> None:
        g = AsyncGuestfs()
        handles.append(g)
        _ = g.run(lambda handle: opened.wait(PATIENCE))
        await asyncio.sleep(0)

    with caplog.at_level(logging.DEBUG), ThreadPoolExecutor(1) as pool:
        handles.clear()
        asyncio.run(main())
        opened.set()
        pool.submit(lambda: None).result()
        handle = handles[0]._handle
        while handle is None or not handle.is_idle():
            handle = handles[0]._handle
        handle.close()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_a_handle_from_before_a_fork_is_refused_and_a_new_one_works() -> None:
    program = """
import asyncio, os
from guestkit import AsyncGuestfs, HandleClosed
async def main():
    g = AsyncGuestfs()
    await g.get_memsize()
    return g
g = asyncio.run(main())
child = os.fork()
if child == 0:
    async def use():
        try:
            await g.get_memsize()
        except HandleClosed as error:
            print(error, flush=True)
        async with AsyncGuestfs() as new:
            print(await new.get_memsize(), flush=True)
    asyncio.run(use())
    os._exit(0)
print(os.waitpid(child, 0)[1], flush=True)
g._handle.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.stdout.splitlines() == [
        "get_memsize: the handle belongs to the process before the fork; open one in this process",
        "1280",
        "0",
    ], done.stderr


EXIT = """
import asyncio, os, signal, sys, threading
from guestkit import AsyncGuestfs
folder, how = sys.argv[1:]
g = AsyncGuestfs(environment=False, accel="tcg")
def serve(handle):
    handle.set_hv(folder + "/hypervisor")
    handle.set_path(folder + "/appliance")
    handle.set_cachedir(folder)
    handle.set_tmpdir(folder)
    handle.add_drive(folder + "/disk", format="raw")
async def main():
    loop = asyncio.get_running_loop()
    if how == "sigterm":
        loop.add_signal_handler(signal.SIGTERM, g.terminate)
    await g.run(serve)
    launch = g.launch()
    def started():
        # Also for writing: opening it only to read blocks if the writer has already gone.
        with open(folder + "/started", "r+b", buffering=0) as fifo:
            return int(fifo.read(100))
    print(await asyncio.to_thread(started), flush=True)
    if how == "forgotten":
        return
    if how == "exception":
        raise LookupError
    if how == "exit":
        sys.exit(3)
    launching.set()
    await launch
launching = threading.Event()
if how == "daemon thread":
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    asyncio.run_coroutine_threadsafe(main(), loop)
    launching.wait()
else:
    asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("how", "number"),
    [
        ("forgotten", None),
        ("exception", None),
        ("exit", None),
        ("ctrl-c", signal.SIGINT),
        ("sigterm", signal.SIGTERM),
        ("daemon thread", None),
    ],
)
def test_a_program_ends_while_a_launch_hangs(
    hypervisor: Any, how: str, number: signal.Signals | None
) -> None:
    folder = hypervisor.path.parent
    with subprocess.Popen(
        [sys.executable, "-c", EXIT, folder, how], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        if number is not None:
            process.send_signal(number)
        try:
            _, errors = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    status = {"exception": 1, "exit": 3, "ctrl-c": -2, "sigterm": 1}
    assert process.returncode == status.get(how, 0)
    assert is_gone(pid), errors
    assert ("Traceback" in errors) == (how in ("exception", "ctrl-c", "sigterm"))


async def test_debug_mode_of_the_loop_finds_nothing(
    hypervisor: Any, caplog: pytest.LogCaptureFixture
) -> None:
    # Debug mode finds calls to the loop from a wrong thread. Its reports of slow steps are ignored: they only
    # show that the machine is busy.
    asyncio.get_running_loop().set_debug(True)
    with caplog.at_level(logging.WARNING, logger="asyncio"):
        async with AsyncGuestfs(environment=False, accel="tcg") as g:
            launch = await launching(g, hypervisor)
            launch.cancel()
            with pytest.raises(asyncio.CancelledError):
                await launch
    found = [record.getMessage() for record in caplog.records]
    assert [message for message in found if not re.search(r"took \d+\.\d+ seconds$", message)] == []


async def turns() -> None:
    """Let everything that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_cancel_at_the_end_of_a_guest_s_block_waits_until_all_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop, ending, go, written = asyncio.get_running_loop(), asyncio.Event(), threading.Event(), []

    async def prepare(*_: object) -> None:
        """Launch nothing."""

    def finish(g: Guestfs) -> None:
        loop.call_soon_threadsafe(ending.set)
        go.wait(PATIENCE)
        g.get_memsize()  # raises if the call is to end
        written.append(g)

    async def change(readonly: bool) -> None:
        async with aio.open_guest("disk", readonly=readonly, format="raw"):
            pass

    monkeypatch.setattr("guestkit.aio.guest.prepare", prepare)
    monkeypatch.setattr("guestkit.aio.guest.finish", finish)
    await change(readonly=True)
    changing = asyncio.create_task(change(readonly=False))
    await ending.wait()
    changing.cancel()
    await turns()
    assert not changing.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await changing
    (g,) = written
    assert not g.is_open()


@pytest.mark.parametrize("waits_for", ["thread", "turn"])
async def test_a_cancel_at_the_end_of_a_guest_s_block_took_back_a_write_that_waited(
    waits_for: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Regression: nothing was written while all threads were busy, or behind calls that were not awaited.

    Where the write failed, nobody learned of it.
    """
    ending, go, written = asyncio.Event(), threading.Event(), []

    async def prepare(*_: object) -> None:
        """Launch nothing."""

    def finish(g: Guestfs) -> None:
        written.append(g.is_open())
        raise Error("shutdown", "the disk is full", errno.ENOSPC)

    async def change() -> None:
        async with aio.open_guest("disk", readonly=False, format="raw", step=lambda _: ending.set()) as g:
            if waits_for == "turn":
                _ = g.run(lambda _: go.wait(PATIENCE))

    monkeypatch.setattr("guestkit.aio.guest.prepare", prepare)
    monkeypatch.setattr("guestkit.aio.guest.finish", finish)
    with ExitStack() as stack:
        if waits_for == "thread":
            set_executor(stack.enter_context(full_pool()))
            stack.callback(set_executor, None)
        changing = asyncio.create_task(change())
        await ending.wait()
        changing.cancel()
        await turns()
        assert not changing.done()
        go.set()
    with pytest.raises(asyncio.CancelledError):
        await changing
    assert written == [True]
    (record,) = (record for record in caplog.records if record.levelno >= logging.WARNING)
    assert record.exc_info is not None
    assert "the disk is full" in str(record.exc_info[1])


async def test_a_checker_finds_no_blocking_call_on_the_loop(hypervisor: Any) -> None:
    with blockbuster_ctx() as checker:
        checker.functions["os.stat"].deactivate()  # the import system calls it when code first runs
        async with AsyncGuestfs(environment=False, accel="tcg") as g:
            events = g.events(Event.CLOSE)
            await asyncio.gather(*(g.get_memsize() for _ in range(100)))
            launch = await launching(g, hypervisor)
            waiting = asyncio.ensure_future(g.get_memsize())
            launch.cancel()
            with pytest.raises(asyncio.CancelledError):
                await launch
            with pytest.raises(ApplianceKilled):
                await waiting
        assert [message.event async for message in events] == [Event.CLOSE]
        g = AsyncGuestfs(environment=False)
        await g.get_memsize()
        g.terminate()
        await g.close()


async def test_the_checker_would_find_one() -> None:
    with blockbuster_ctx(), pytest.raises(BlockingError):
        time.sleep(0.001)  # noqa: ASYNC251
