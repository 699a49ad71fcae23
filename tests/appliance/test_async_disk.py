"""AsyncGuestfs with a real appliance: cancelling, time-outs, streams, progress, crashes."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import io
import os
import shutil
import signal
import struct
import tarfile
import termios
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from guestkit import ApplianceCrashed, ApplianceKilled, AsyncGuestfs, CallTimeout, Error, Event, Guestfs, aio
from guestkit.aio import streams
from guestkit.demo import DEMO_SYSTEM

MEGABYTE = 1024 * 1024

#: Seconds; only something that hangs takes longer.
PATIENCE = 60

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def scratch(**options: float) -> AsyncGuestfs:
    g = AsyncGuestfs(**options)  # type: ignore[arg-type]
    await g.add_drive_scratch(600 * MEGABYTE)
    await g.launch()
    await g.mke2fs("/dev/sda")
    await g.mount("/dev/sda", "/")
    await g.touch("/big")
    await g.truncate_size("/big", 400 * MEGABYTE)
    return g


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def g() -> AsyncIterator[AsyncGuestfs]:
    """An appliance with a file of 400 MB of zeros, /big."""
    handle = await scratch()
    yield handle
    await handle.close()


class Fifo:
    """A FIFO that blocks a download: it holds 64 KiB, and nobody reads it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "fifo"
        os.mkfifo(self.path)
        self.descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)

    async def filled(self) -> None:
        """Wait until the FIFO is full, so that the download blocks."""
        readable = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self.descriptor, readable.set)
        await asyncio.wait_for(readable.wait(), PATIENCE)
        loop.remove_reader(self.descriptor)

    def drain(self) -> threading.Thread:
        """Keep reading, and discard what arrives."""
        os.set_blocking(self.descriptor, True)

        def read() -> None:
            while os.read(self.descriptor, MEGABYTE):
                pass

        thread = threading.Thread(target=read)
        thread.start()
        return thread


async def test_a_cancelled_download_ends_and_the_handle_goes_on(g: AsyncGuestfs, tmp_path: Path) -> None:
    fifo = Fifo(tmp_path)
    task = asyncio.ensure_future(g.download("/big", fifo.path))
    await fifo.filled()
    task.cancel()
    reader = fifo.drain()
    with pytest.raises(asyncio.CancelledError):
        await task
    reader.join()
    assert await g.filesize("/big") == 400 * MEGABYTE


async def test_read_file_reacts_to_a_cancel_though_it_is_no_transfer_by_name(g: AsyncGuestfs) -> None:
    entered = asyncio.Event()
    number = await g.set_event_callback(lambda *event: entered.set(), Event.ENTER)
    task = asyncio.ensure_future(g.read_file("/big"))
    await asyncio.wait_for(entered.wait(), PATIENCE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await g.delete_event_callback(number)
    assert await g.filesize("/big") == 400 * MEGABYTE


async def test_a_download_that_takes_too_long_is_stopped_and_the_handle_goes_on(tmp_path: Path) -> None:
    async with await scratch(call_timeout=5) as limited:
        fifo = Fifo(tmp_path)
        task = asyncio.ensure_future(limited.download("/big", fifo.path))
        await fifo.filled()
        reader: list[threading.Thread] = []
        asyncio.get_running_loop().call_later(5.1, lambda: reader.append(fifo.drain()))
        with pytest.raises(
            CallTimeout, match=r"call_timeout\) and was stopped; the handle can be used"
        ) as late:
            await task
        assert late.value.handle_usable
        reader[0].join()
        assert await limited.filesize("/big") == 400 * MEGABYTE
        # Make the appliance hang: only killing it can stop the call.
        pid = await limited.get_pid()
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(CallTimeout, match="the appliance was killed, open a new handle") as caught:
            await limited.filesize("/big")
        assert caught.value.console
        assert not caught.value.handle_usable
        with pytest.raises(ApplianceKilled):
            await limited.filesize("/big")
        assert not Path(f"/proc/{pid}").exists()


async def test_a_stuck_call_that_is_cancelled_is_killed_after_the_grace() -> None:
    async with await scratch(cancel_grace=0.3) as stuck:
        pid = await stuck.get_pid()
        os.kill(pid, signal.SIGSTOP)
        entered = asyncio.Event()
        await stuck.set_event_callback(lambda *event: entered.set(), Event.ENTER)
        task = asyncio.ensure_future(stuck.filesize("/big"))
        await asyncio.wait_for(entered.wait(), PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not Path(f"/proc/{pid}").exists()
        with pytest.raises(ApplianceKilled, match="was cancelled and did not end"):
            await stuck.filesize("/big")


async def test_close_of_an_appliance_that_hangs_ends_at_its_limit() -> None:
    async with await scratch(close_timeout=0.5) as stuck:
        pid = await stuck.get_pid()
        os.kill(pid, signal.SIGSTOP)
        await asyncio.wait_for(stuck.close(), PATIENCE)
        assert not Path(f"/proc/{pid}").exists()


async def test_a_killed_hypervisor_is_an_error_of_the_call_with_the_last_console_lines() -> None:
    async with await scratch() as dying:
        pid = await dying.get_pid()
        entered = asyncio.Event()
        await dying.set_event_callback(lambda *event: entered.set(), Event.ENTER)
        task = asyncio.ensure_future(dying.checksum("sha512", "/big"))
        await asyncio.wait_for(entered.wait(), PATIENCE)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(ApplianceCrashed) as caught:
            await asyncio.wait_for(task, PATIENCE)
        assert caught.value.console
        assert type(caught.value) is ApplianceCrashed


async def test_progress_comes_on_the_loop_and_what_it_raises_is_logged(
    g: AsyncGuestfs, tmp_path: Path
) -> None:
    said: list[BaseException] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: said.append(context["exception"]))
    fifo = Fifo(tmp_path)
    seen: list[tuple[int, int]] = []
    enough = asyncio.Event()

    def progress(position: int, total: int) -> None:
        assert threading.current_thread() is threading.main_thread()
        seen.append((position, total))
        if len(seen) == 2:
            enough.set()
            raise LookupError("progress")

    task = asyncio.ensure_future(g.download("/big", fifo.path, progress=progress))
    while not enough.is_set() and not task.done():  # slowly: the first seconds bring no progress
        with contextlib.suppress(BlockingIOError):
            os.read(fifo.descriptor, MEGABYTE)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(enough.wait(), 0.02)
    reader = fifo.drain()
    await task
    reader.join()
    asyncio.get_running_loop().set_exception_handler(None)
    assert [total for _, total in seen] == [400 * MEGABYTE] * len(seen)
    positions = [position for position, _ in seen]
    assert positions == sorted(positions)
    assert [type(error) for error in said] == [LookupError]


# ---- streams


async def test_a_download_stream_carries_the_content(g: AsyncGuestfs) -> None:
    content = os.urandom(3 * MEGABYTE + 17)
    await g.write("/random", content)
    received = b"".join([chunk async for chunk in g.download_stream("/random")])
    assert received == content


async def test_leaving_a_stream_early_ends_the_transfer(g: AsyncGuestfs) -> None:
    async with contextlib.aclosing(g.download_stream("/big")) as stream:
        async for chunk in stream:
            assert 0 < len(chunk) <= MEGABYTE
            break
    assert await g.filesize("/big") == 400 * MEGABYTE


async def test_a_stream_of_a_file_that_is_not_there_is_the_downloads_error(g: AsyncGuestfs) -> None:
    with pytest.raises(Error, match="download: /missing"):
        async for _ in g.download_stream("/missing"):
            pass


async def test_a_reader_that_waits_holds_the_transfer_back(g: AsyncGuestfs) -> None:
    received = 0
    async for chunk in g.download_stream("/big"):
        received += len(chunk)
        if received < 4 * MEGABYTE:
            await asyncio.sleep(0.05)
            assert g._calls._running is not None  # the transfer waits, rather than fill the memory
    assert received == 400 * MEGABYTE


async def test_an_upload_stream_writes_what_comes(g: AsyncGuestfs) -> None:
    async def source() -> AsyncIterator[bytes]:
        for number in range(40):
            await asyncio.sleep(0)
            yield bytes([number]) * 100_000

    await g.upload_stream(source(), "/uploaded")
    expected = b"".join(bytes([number]) * 100_000 for number in range(40))
    assert await g.read_file("/uploaded") == expected
    await g.upload_stream([b"from ", bytearray(b"a "), memoryview(b"list")], "/uploaded")
    assert await g.read_file("/uploaded") == b"from a list"


@pytest.mark.parametrize("kind", [LookupError, BrokenPipeError])
async def test_a_source_that_raises_ends_the_upload(g: AsyncGuestfs, kind: type[Exception]) -> None:
    """Regression: its BrokenPipeError was taken for the transfer's, and the part for the whole file."""

    async def source() -> AsyncIterator[bytes]:
        yield bytes(MEGABYTE)
        raise kind("source")

    with pytest.raises(kind, match="source"):
        await asyncio.wait_for(g.upload_stream(source(), "/partial"), PATIENCE)
    assert await g.filesize("/big") == 400 * MEGABYTE


async def test_an_upload_that_fails_says_why(g: AsyncGuestfs) -> None:
    async def source() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield bytes(MEGABYTE)

    with pytest.raises(Error, match="upload: /missing/file"):
        await asyncio.wait_for(g.upload_stream(source(), "/missing/file"), PATIENCE)
    assert await g.filesize("/big") == 400 * MEGABYTE


async def test_the_clean_up_of_a_cancelled_uploads_source_cost_the_appliance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It counted for the grace of the call, which cannot notice a cancel while it waits for data."""
    grace, silent = 0.5, asyncio.Event()
    pipes: list[tuple[int, int]] = []
    pipe = streams._pipe

    def recorded() -> tuple[int, int]:
        pipes.append(pipe())
        return pipes[0]

    def unread() -> int:
        (count,) = struct.unpack("i", fcntl.ioctl(pipes[0][0], termios.FIONREAD, bytes(4)))
        return int(count)

    monkeypatch.setattr(streams, "_pipe", recorded)

    async def source() -> AsyncIterator[bytes]:
        try:
            yield bytes(2 * MEGABYTE)  # more than fits into the pipe: the transfer has begun
            while unread():  # noqa: ASYNC110  # nothing tells when a pipe is empty
                await asyncio.sleep(0.01)
            silent.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(3 * grace)  # as closing a connection may take

    async with await scratch(cancel_grace=grace) as g:
        uploading = asyncio.ensure_future(g.upload_stream(source(), "/part"))
        await asyncio.wait_for(silent.wait(), PATIENCE)
        uploading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await uploading
        assert await g.filesize("/big") == 400 * MEGABYTE


@pytest.mark.parametrize("end", ["call_timeout", "terminate"])
async def test_an_upload_from_a_silent_source_could_not_be_ended(end: str) -> None:
    """It waited for data, whatever the limit said and whatever had become of the appliance."""
    cleaned, silent = [], asyncio.Event()

    async def source() -> AsyncIterator[bytes]:
        try:
            yield bytes(2 * MEGABYTE)  # more than fits into the pipe: the transfer has begun
            silent.set()
            await asyncio.Event().wait()
        finally:
            cleaned.append(True)

    limits = {"call_timeout": 5.0} if end == "call_timeout" else {}
    async with await scratch(**limits) as g:
        uploading = asyncio.ensure_future(g.upload_stream(source(), "/part"))
        await asyncio.wait_for(silent.wait(), PATIENCE)
        if end == "terminate":
            g.terminate()
        with pytest.raises(CallTimeout if end == "call_timeout" else ApplianceKilled):
            await asyncio.wait_for(uploading, PATIENCE)
    assert cleaned == [True]


async def test_archives_stream_both_ways(g: AsyncGuestfs) -> None:
    await g.mkdir_p("/tree/deep")
    await g.write("/tree/deep/leaf", b"leaf")
    archive = b"".join([chunk async for chunk in g.tar_out_stream("/tree", compress="gzip")])
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert "./deep/leaf" in tar.getnames()
    await g.mkdir("/copy")
    await g.tar_in_stream([archive], "/copy", compress="gzip")
    assert await g.read_file("/copy/deep/leaf") == b"leaf"


# ---- common forms of user code


async def inspect_multiple(disks: list[Path]) -> list[list[str]]:
    tasks = []
    for disk in disks:
        async with AsyncGuestfs() as g:
            await g.add_drive_ro(disk)
            await g.launch()
            tasks.append(g.inspect_os())
    return await asyncio.gather(*tasks)


async def test_calls_made_in_a_block_can_be_gathered_after_it(tmp_path: Path) -> None:
    disks = [tmp_path / "one", tmp_path / "two"]
    for disk in disks:
        disk.write_bytes(bytes(MEGABYTE))
    assert await inspect_multiple(disks) == [[], []]


async def test_a_function_of_the_blocking_handle_runs_in_one_hop(g: AsyncGuestfs) -> None:
    def sizes(handle: Guestfs) -> list[int]:
        return [handle.filesize("/big") for _ in range(10)]

    assert await g.run(sizes) == [400 * MEGABYTE] * 10


async def test_a_function_for_a_launched_handle_waits_for_no_launch(g: AsyncGuestfs) -> None:
    """What is launched already is used, and so may free the memory that launches wait for."""
    assert (await g.run(lambda handle: threading.current_thread().name)).startswith("guestkit_")


# ---- guests


async def test_every_async_program_mounted_its_guest_by_hand(demo_guest: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    shutil.copyfile(demo_guest, disk)
    told: list[tuple[str, bool]] = []

    def step(what: str) -> None:
        told.append((what, threading.current_thread() is threading.main_thread()))

    async with aio.open_guest(disk, readonly=False, format="raw", step=step) as g:
        assert (await g.read_file("/etc/hostname")).decode().strip() == DEMO_SYSTEM.hostname
        await g.write("/etc/motd", b"written")
        mounted = await g.mount_info()
    assert mounted is not None
    assert (mounted.mountpoints["/"], mounted.failures) == (mounted.root, ())
    assert repr(g) == "<guestkit.AsyncGuestfs closed, 0 calls waiting>"
    steps = [what for what, _ in told]
    assert steps[0] == "starting the appliance"
    assert steps[-1] == "writing to the disk"
    assert all(on_the_loop for _, on_the_loop in told)
    with pytest.raises(Error, match="write: ") as caught:
        async with aio.open_guest(disk) as g:
            assert await g.read_file("/etc/motd") == b"written"
            await g.write("/etc/motd", b"again")
    assert caught.value.errno == errno.EROFS
    assert repr(g) == "<guestkit.AsyncGuestfs closed, 0 calls waiting>"
