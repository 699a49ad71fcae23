"""What AsyncGuestfs promises, without an appliance: `run()` queues functions that block."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import gc
import inspect
import threading
import warnings
from collections.abc import Callable, Coroutine
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.thread import BrokenThreadPool
from pathlib import Path
from typing import Any, NoReturn

import pytest

from guestkit import (
    AsyncGuestfs,
    Error,
    Event,
    Guestfs,
    HandleClosed,
    HandleOptions,
    copying,
    diff_files,
    fuse,
    languages,
    reading,
)
from guestkit.aio.executor import MAX_THREADS, run_in_thread, set_executor, shared_executor
from guestkit.guest import mount_guest

#: Seconds; only something that hangs takes longer.
PATIENCE = 20


class Gate:
    """A function for `run()` that signals when it has begun, and ends when it is opened."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.begun = asyncio.Event()
        self.loop = asyncio.get_running_loop()

    def __call__(self, handle: Guestfs) -> int:
        self.loop.call_soon_threadsafe(self.begun.set)
        assert self.opened.wait(PATIENCE)
        return handle.get_memsize()


async def test_calls_run_in_the_order_in_which_they_were_made() -> None:
    order: list[int] = []

    def note(n: int) -> Callable[[Guestfs], None]:
        return lambda handle: order.append(n)

    async with AsyncGuestfs() as g:
        calls = [g.run(note(n)) for n in range(20)]
        await asyncio.gather(*reversed(calls))
    assert order == list(range(20))


async def test_a_call_that_nobody_awaits_runs_all_the_same() -> None:
    async with AsyncGuestfs() as g:
        _ = g.set_memsize(777)
        assert await g.get_memsize() == 777


@pytest.mark.parametrize("forgetful", [bool, list, lambda call: not call])
async def test_a_call_that_was_not_awaited_was_true(forgetful: Callable[[Any], Any]) -> None:
    async with AsyncGuestfs() as g:
        call = g.run(lambda handle: False)
        with pytest.raises(TypeError, match=r"^AsyncGuestfs\.run\(\) has to be awaited"):
            forgetful(call)
        assert await call is False


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("copy_out", lambda g: copying.copy_out(g, ["/etc/fstab"], ".")),
        ("copy_in", lambda g: copying.copy_in(g, [__file__], "/")),
        ("diff_files", lambda g: diff_files(g, g)),
        ("find_packages", languages.find_packages),
        ("list_files", lambda g: reading.list_files(g, "/")),
        ("lstat", lambda g: reading.lstat(g, "/")),
        ("mount_guest", mount_guest),
        ("serve", lambda g: fuse.serve(g, "/nowhere")),
    ],
)
async def test_a_blocking_function_said_false_things_of_an_async_handle(
    name: str, use: Callable[[Any], Any]
) -> None:
    """To copy_out, every file was a directory, for a call that nobody has awaited was true."""
    async with AsyncGuestfs() as g:
        with pytest.raises(
            TypeError, match=rf"^{name}\(\) takes a Guestfs.*await g\.run\(lambda g: {name}\("
        ):
            use(g)
        assert len(g._calls) == 0


async def test_the_exception_of_a_call_that_nobody_awaits_is_logged() -> None:
    said: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: said.append(context))
    async with AsyncGuestfs() as g:
        _ = g.set_memsize(1)
    del g, _
    gc.collect()
    assert [type(context["exception"]) for context in said] == [Error]


async def test_gather_after_async_with_gets_the_results_of_calls_made_inside() -> None:
    calls = []
    for size in (600, 700):
        async with AsyncGuestfs() as g:
            await g.set_memsize(size)
            calls.append(g.get_memsize())
    assert await asyncio.gather(*calls) == [600, 700]


async def test_a_call_is_a_coroutine_for_everything_that_takes_one() -> None:
    async with AsyncGuestfs() as g:
        call = g.get_memsize()
        assert isinstance(call, Coroutine)
        assert asyncio.iscoroutine(call)
        assert await call == 1280
        assert await asyncio.wait_for(g.get_memsize(), PATIENCE) == 1280
        assert await asyncio.create_task(g.get_memsize()) == 1280
        async with asyncio.TaskGroup() as group:
            task = group.create_task(g.get_memsize())
        assert task.result() == 1280
        async with asyncio.timeout(PATIENCE):
            assert await g.get_memsize() == 1280


def test_a_call_without_a_running_loop_raises_at_once() -> None:
    with pytest.raises(RuntimeError, match=r"get_memsize\(\) needs a running event loop"):
        _ = AsyncGuestfs().get_memsize()


def test_a_handle_belongs_to_the_loop_of_its_first_call() -> None:
    g = AsyncGuestfs()

    async def use() -> int:
        return await g.get_memsize()

    assert asyncio.run(use()) == 1280
    with pytest.raises(RuntimeError, match="belongs to another event loop"):
        asyncio.run(use())
    assert g._handle is not None
    g._handle.close()


async def test_no_call_runs_on_the_thread_of_the_loop() -> None:
    loop_thread = threading.current_thread()
    async with AsyncGuestfs() as g:
        thread = await g.run(lambda handle: threading.current_thread())
    assert thread is not loop_thread
    assert thread.name.startswith("guestkit")


async def test_the_libguestfs_handle_is_created_off_the_thread_of_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads: list[threading.Thread] = []
    original = Guestfs.__init__

    def init(self: Guestfs, *options: Any) -> None:
        threads.append(threading.current_thread())
        original(self, *options)

    monkeypatch.setattr(Guestfs, "__init__", init)
    async with AsyncGuestfs() as g:
        await g.get_memsize()
    assert len(threads) == 1
    assert threads[0] is not threading.current_thread()


async def test_a_busy_handle_holds_one_thread_and_starves_no_other() -> None:
    with ThreadPoolExecutor(2) as pool:
        busy, idle = AsyncGuestfs(executor=pool), AsyncGuestfs(executor=pool)
        async with busy, idle:
            gate = Gate()
            waiting = [busy.run(gate), *(busy.get_memsize() for _ in range(50))]
            await gate.begun.wait()
            assert await asyncio.wait_for(idle.get_memsize(), PATIENCE) == 1280
            gate.opened.set()
            assert await asyncio.gather(*waiting) == [1280] * 51


async def test_a_call_keeps_its_handle_alive() -> None:
    """Dropped with calls in its queue, a handle was closed, and they ran on another one."""

    async def calls(executor: ThreadPoolExecutor) -> list[Coroutine[Any, Any, int]]:
        g = AsyncGuestfs(executor=executor)
        await g.set_memsize(1000)
        return [g.get_memsize() for _ in range(100)]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # in the end it is dropped unclosed
        with ThreadPoolExecutor(1) as executor:
            found = await asyncio.gather(*await calls(executor))
        await asyncio.sleep(0)  # the calls' tasks go
        gc.collect()
    assert found == [1000] * 100


async def test_a_function_that_raised_stop_iteration_hung_for_ever() -> None:
    """asyncio's futures take no StopIteration, so the call was never done, nor any behind it."""
    async with AsyncGuestfs() as g:
        with pytest.raises(RuntimeError, match="StopIteration") as caught:
            await asyncio.wait_for(g.run(lambda handle: next(iter(()))), 60)
        assert isinstance(caught.value.__cause__, StopIteration)
        assert await g.get_memsize() == 1280


async def test_a_call_cancelled_while_it_waits_never_runs() -> None:
    ran: list[int] = []
    async with AsyncGuestfs() as g:
        gate = Gate()
        first = asyncio.create_task(g.run(gate))
        second = asyncio.create_task(g.run(lambda handle: ran.append(1)))
        await gate.begun.wait()
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        gate.opened.set()
        assert await first == 1280
        assert await g.get_memsize() == 1280
    assert ran == []


async def test_a_task_cancelled_before_its_first_step_takes_its_call_out_of_the_queue() -> None:
    ran: list[int] = []
    async with AsyncGuestfs() as g:
        gate = Gate()
        first = g.run(gate)
        await gate.begun.wait()
        task = asyncio.create_task(g.run(lambda handle: ran.append(1)))
        task.cancel()  # before the loop runs its first step
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.opened.set()
        await first
    assert ran == []


async def test_a_task_cancelled_before_its_first_step_did_not_wait_for_its_call() -> None:
    """It raised at once, while the call ran on; what that raised then was logged as never retrieved."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    async with AsyncGuestfs() as g:
        gate = Gate()
        call = g.run(gate)
        await gate.begun.wait()
        task = asyncio.create_task(call)
        task.cancel()  # before the loop runs its first step
        await asyncio.sleep(0)
        task.cancel()  # nor does a second cancel end the wait
        await asyncio.sleep(0)
        waits = not task.done()
        gate.opened.set()  # the function's next call is refused: it raises
        with pytest.raises(asyncio.CancelledError):
            await task
        assert waits
        assert await g.get_memsize() == 1280
    del task, call
    gc.collect()
    assert complaints == []


async def test_a_cancel_of_a_running_call_waits_until_it_has_ended() -> None:
    async with AsyncGuestfs() as g:
        gate = Gate()
        task = asyncio.create_task(g.run(gate))
        await gate.begun.wait()
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()  # a second cancel does not end the wait
        done, _ = await asyncio.wait([task], timeout=0.1)
        assert not done
        gate.opened.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await g.get_memsize() == 1280


async def test_each_cancel_of_a_running_call_was_logged_as_an_error(shield_tells: None) -> None:
    """Regression: since Python 3.14, "Error exception in shielded future" with a traceback."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    async with AsyncGuestfs() as g:
        gate = Gate()
        task = asyncio.create_task(g.run(gate))
        await gate.begun.wait()
        task.cancel()
        await asyncio.sleep(0)
        gate.opened.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert complaints == []


async def test_a_cancel_reaches_libguestfs_while_the_call_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    cancelled = threading.Event()

    monkeypatch.setattr(Guestfs, "cancel", lambda handle: cancelled.set())
    async with AsyncGuestfs() as g:
        begun = asyncio.Event()
        loop = asyncio.get_running_loop()

        def transfer(handle: Guestfs) -> bool:
            loop.call_soon_threadsafe(begun.set)
            return cancelled.wait(PATIENCE)

        task = asyncio.create_task(g.run(transfer))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert cancelled.is_set()


async def test_user_cancel_does_not_wait_for_the_call_that_it_stops(tmp_path: Path) -> None:
    async with AsyncGuestfs() as g:
        gate = Gate()
        first = g.run(gate)
        await gate.begun.wait()
        await asyncio.wait_for(g.user_cancel(), PATIENCE)
        gate.opened.set()
        await first


@pytest.mark.parametrize("awaited", [False, True])
async def test_closing_a_call_that_runs_ends_it_and_logs_nothing(
    awaited: bool, caplog: pytest.LogCaptureFixture
) -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    begun, released = threading.Event(), threading.Event()

    ended: list[str] = []

    def held(handle: Guestfs) -> int:
        begun.set()
        released.wait(PATIENCE)
        try:
            return handle.get_memsize()
        except Error as error:
            ended.append(error.message)
            raise

    async with AsyncGuestfs() as g:
        call = g.run(held)
        if awaited:
            call.send(None)
        await asyncio.to_thread(begun.wait, PATIENCE)
        call.close()
        released.set()
        assert await g.get_memsize() > 0
        del call
        gc.collect()
    assert ended == ["cancelled"]
    assert complaints == []
    assert caplog.messages == []


async def test_close_lets_the_calls_that_were_made_run() -> None:
    g = AsyncGuestfs()
    gate = Gate()
    calls = [g.run(gate), g.get_memsize()]
    await gate.begun.wait()
    closing = asyncio.create_task(g.close())
    await asyncio.sleep(0)
    with pytest.raises(HandleClosed):
        _ = g.get_memsize()
    gate.opened.set()
    await closing
    assert await asyncio.gather(*calls) == [1280, 1280]


async def test_close_twice_and_at_once_is_one_close() -> None:
    g = AsyncGuestfs()
    await g.get_memsize()
    await asyncio.gather(g.close(), g.close())
    await g.close()
    with pytest.raises(HandleClosed, match="get_memsize: the handle is closed"):
        _ = g.get_memsize()


async def test_close_of_a_handle_that_was_never_used() -> None:
    async with AsyncGuestfs():
        pass


async def test_close_does_not_wait_for_a_free_thread_of_the_pool() -> None:
    with ThreadPoolExecutor(1) as pool:
        g, other = AsyncGuestfs(executor=pool), AsyncGuestfs(executor=pool)
        await g.get_memsize()
        gate = Gate()
        blocking = other.run(gate)
        await gate.begun.wait()
        await asyncio.wait_for(g.close(), PATIENCE)
        gate.opened.set()
        await blocking
        await other.close()


async def test_an_exception_in_the_body_wins_and_cancels_what_waits() -> None:
    ran: list[int] = []

    async def body() -> None:
        async with AsyncGuestfs() as g:
            gate = Gate()
            g.run(gate)
            g.run(lambda handle: ran.append(1))
            await gate.begun.wait()
            gate.opened.set()
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await body()
    assert ran == []


async def test_a_call_that_leaving_the_block_had_ended_was_logged_as_never_awaited() -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))

    async def body() -> None:
        async with AsyncGuestfs() as g:
            gate = Gate()
            _ = g.run(gate)
            await gate.begun.wait()
            asyncio.get_running_loop().call_soon(gate.opened.set)  # once the call is cancelled
            raise LookupError

    with pytest.raises(LookupError):
        await body()
    gc.collect()
    assert complaints == []


async def test_a_handle_dropped_unclosed_warns_and_is_closed() -> None:
    # An executor's thread may refer to the handle for a moment after the call, so end the executor first.
    with ThreadPoolExecutor(1) as executor:
        g = AsyncGuestfs(executor=executor)
        await g.get_memsize()
    handle = g._handle
    assert handle is not None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del g
        gc.collect()
    assert [w.category for w in caught] == [ResourceWarning]
    for thread in threading.enumerate():
        if thread.name == "guestkit-reaper":
            thread.join(PATIENCE)
    assert not handle.is_open()


async def test_contextvars_of_the_caller_are_seen_inside_the_call() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    async with AsyncGuestfs() as g:
        variable.set("mine")
        call = g.run(lambda handle: variable.get())
        variable.set("later")
        assert await call == "mine"


async def test_events_arrive_on_the_loop_in_order() -> None:
    seen: list[tuple[Event, str, threading.Thread]] = []

    def callback(event: Event, number: int, text: str, numbers: list[int]) -> None:
        seen.append((event, text, threading.current_thread()))

    async with AsyncGuestfs() as g:
        number = await g.set_event_callback(callback, Event.ENTER)
        await g.get_memsize()
        await g.get_smp()
        await g.delete_event_callback(number)
        await g.get_program()
    me = threading.current_thread()
    assert seen == [(Event.ENTER, "get_memsize", me), (Event.ENTER, "get_smp", me)]


@pytest.mark.parametrize("is_made", [True, False])
async def test_a_callback_for_the_events_of_the_running_call_waited_for_its_end(is_made: bool) -> None:
    seen: list[str] = []

    def note(event: Event, number: int, text: str, numbers: list[int]) -> None:
        seen.append(text)

    async with AsyncGuestfs() as g, asyncio.timeout(PATIENCE / 2):
        if is_made:
            await g.get_smp()
        gate = Gate()
        call = g.run(gate)
        try:
            first, _ = [await g.set_event_callback(note, Event.ENTER) for _ in range(2)]
            await g.delete_event_callback(first)
            assert await g.launch_info() is None
        finally:
            gate.opened.set()
        await call
    assert seen.count("get_memsize") == 1


async def test_no_handle_is_made_for_a_callback_once_it_is_closed() -> None:
    g = AsyncGuestfs()
    await g.close()
    with pytest.raises(HandleClosed, match="set_event_callback: the handle is closed"):
        await g.set_event_callback(print)
    with pytest.raises(HandleClosed):  # what has begun before the close
        g._calls.made("set_event_callback")
    assert g._handle is None


async def test_the_executor_is_shared_and_can_be_replaced() -> None:
    assert shared_executor() is shared_executor()
    mine = ThreadPoolExecutor(1, thread_name_prefix="mine")
    set_executor(mine)
    try:
        async with AsyncGuestfs() as g:
            assert (await g.run(lambda handle: threading.current_thread().name)).startswith("mine")
    finally:
        set_executor(None)
        mine.shutdown()
    async with AsyncGuestfs() as g:
        assert (await g.run(lambda handle: threading.current_thread().name)).startswith("guestkit")


async def test_an_executor_of_processes_is_refused() -> None:
    with ProcessPoolExecutor(1) as processes:
        with pytest.raises(TypeError, match="executor of threads"):
            AsyncGuestfs(executor=processes)
        with pytest.raises(TypeError, match="executor of threads"):
            set_executor(processes)


async def test_an_executor_that_was_shut_down_is_an_error_of_the_call() -> None:
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    g = AsyncGuestfs(executor=pool)
    with pytest.raises(RuntimeError, match="after shutdown") as caught:
        await g.get_memsize()
    assert not isinstance(caught.value, Error)
    await g.close()


@pytest.mark.parametrize("run", ["in a pool", "on its own thread"])
async def test_that_there_is_no_thread_was_told_by_the_words_of_python_alone(
    run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: in a Python that words it otherwise, it was no Error."""
    refusal = RuntimeError("no more of them")

    def refuse(self: threading.Thread) -> NoReturn:
        raise refusal

    with ThreadPoolExecutor(1) as pool:
        g = AsyncGuestfs(executor=pool)
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            with pytest.raises(Error, match="no thread can be started") as caught:
                await (g.get_memsize() if run == "in a pool" else run_in_thread("cancel", int))
        assert (caught.value.errno, caught.value.__cause__) == (errno.EAGAIN, refusal)
        await g.close()


@pytest.mark.parametrize("reason", ["broken", "full"])
async def test_a_pool_that_refuses_work_was_told_as_a_limit_of_threads(reason: str) -> None:
    """Regression: the error named limits of the system, which were not reached."""

    def fail() -> NoReturn:
        raise LookupError

    class Full(ThreadPoolExecutor):
        def submit(self, *_: Any, **__: Any) -> NoReturn:
            raise RuntimeError("the queue is full")

    with ThreadPoolExecutor(1, initializer=fail) if reason == "broken" else Full(1) as pool:
        if reason == "broken":
            with pytest.raises(BrokenThreadPool):
                pool.submit(int).result()
        g = AsyncGuestfs(executor=pool)
        with pytest.raises(RuntimeError, match="not usable|queue is full") as caught:
            await g.get_memsize()
        assert not isinstance(caught.value, Error)
        await g.close()


async def test_more_handles_than_threads_get_their_turn() -> None:
    with ThreadPoolExecutor(2) as pool:
        handles = [AsyncGuestfs(executor=pool) for _ in range(20)]
        assert await asyncio.gather(*(g.get_memsize() for g in handles)) == [1280] * 20
        await asyncio.gather(*(g.close() for g in handles))
    assert MAX_THREADS >= 20


async def test_options_are_a_value_that_both_classes_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBGUESTFS_MEMSIZE", "777")
    options = HandleOptions(environment=False)
    async with AsyncGuestfs(options) as g, AsyncGuestfs(options, environment=True) as other:
        assert (await g.get_memsize(), await other.get_memsize()) == (1280, 777)
    with Guestfs(options) as blocking:
        assert blocking.get_memsize() == 1280


@pytest.mark.parametrize("name", ["open_disk", "open_disks"])
def test_opening_disks_takes_what_the_blocking_class_takes(name: str) -> None:
    def taken(kind: type) -> list[tuple[str, object, object]]:
        parameters = inspect.signature(getattr(kind, name)).parameters.values()
        return [(one.name, one.kind, one.default) for one in parameters]

    assert taken(AsyncGuestfs) == [
        *taken(Guestfs),
        ("on_cancel", inspect.Parameter.KEYWORD_ONLY, "end"),
    ]


@pytest.mark.parametrize("name", ["inspect", "read_small", "read_files", "walk", "extract"])
def test_what_guestkit_adds_to_the_actions_takes_on_cancel(name: str) -> None:
    assert inspect.signature(getattr(AsyncGuestfs, name)).parameters["on_cancel"].default == "end"


def test_signatures_and_documentation_are_those_of_the_blocking_class(action: dict[str, Any]) -> None:
    name = action["name"]
    blocking, asynchronous = getattr(Guestfs, name), getattr(AsyncGuestfs, name)
    assert asynchronous.__doc__ or name == "user_cancel"
    if name != "user_cancel":
        added = ["progress", "on_cancel"] if action["progress"] else ["on_cancel"]
        expected = list(inspect.signature(blocking).parameters.values())
        actual = list(inspect.signature(asynchronous).parameters.values())
        assert actual[: len(expected)] == expected
        assert [p.name for p in actual[len(expected) :]] == added
        assert all(p.kind is p.KEYWORD_ONLY for p in actual[len(expected) :])
        assert asynchronous.__doc__ == blocking.__doc__
    assert asynchronous.__qualname__ == f"AsyncGuestfs.{name}"
