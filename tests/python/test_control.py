"""Ending work on the blocking handle: time-outs, cancel(), terminate(), Ctrl-C; without an appliance."""

from __future__ import annotations

import errno
import os
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from guestkit import ApplianceKilled, AsyncGuestfs, CallTimeout, Error, Guestfs, inspect, inspect_many

#: Seconds; only something that hangs takes longer.
PATIENCE = 20


def is_gone(process: int) -> bool:
    """Return whether the process has ended; a zombie counts as ended."""
    try:
        return ") Z " in Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_launch_that_hangs_ends_at_its_limit(hypervisor: Any) -> None:
    with Guestfs(environment=False, accel="tcg", launch_timeout=0.3) as g:
        launch = hypervisor.launch(g)
        with pytest.raises(CallTimeout) as caught:
            launch.result()
        assert (caught.value.op, caught.value.clock, caught.value.seconds) == (
            "launch",
            "launch_timeout",
            0.3,
        )
        assert caught.value.errno == errno.ETIMEDOUT
        assert isinstance(caught.value, TimeoutError)
        assert is_gone(hypervisor.pid)
        with pytest.raises(ApplianceKilled, match="open a new handle"):
            g.get_memsize()


@pytest.fixture
def stuck(hypervisor: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A disk whose launch hangs."""
    monkeypatch.setenv("LIBGUESTFS_HV", str(hypervisor.path))
    monkeypatch.setenv("LIBGUESTFS_PATH", str(hypervisor.appliance))
    monkeypatch.setenv("LIBGUESTFS_CACHEDIR", str(tmp_path))
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(1 << 20))
    return disk


def test_the_limit_of_a_launch_was_ignored_inside_an_inspection(hypervisor: Any, stuck: Path) -> None:
    with pytest.raises(CallTimeout, match="launch: took longer than") as caught:
        inspect(stuck, format="raw", accel="tcg", launch_timeout=0.3, timeout=PATIENCE)
    assert (caught.value.clock, caught.value.seconds) == ("launch_timeout", 0.3)
    hypervisor.wait_until_started()
    assert is_gone(hypervisor.pid)


def test_the_timeout_of_an_inspection_advised_a_limit_that_it_refuses(stuck: Path) -> None:
    wanted = "took longer than 0.3 s (timeout) and was stopped; give it more time: timeout="
    with pytest.raises(CallTimeout) as caught:
        inspect(stuck, format="raw", accel="tcg", timeout=0.3)
    assert str(caught.value) == f"launch: {wanted}"
    assert caught.value.cause == "call_timeout"
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    [report] = inspect_many([stuck], format="raw", accel="tcg", timeout=0.3)
    assert str(report.error) == f"{stuck}: {wanted}"


def test_terminate_ends_a_launch_and_the_handle(hypervisor: Any) -> None:
    with Guestfs(environment=False, accel="tcg") as g:
        launch = hypervisor.launch(g)
        g.terminate()
        with pytest.raises(ApplianceKilled, match=r"terminate\(\) was called"):
            launch.result()
        assert is_gone(hypervisor.pid)
        assert g.is_open()
    assert not g.is_open()


def test_cancel_ends_the_call_of_another_thread(hypervisor: Any) -> None:
    with Guestfs(environment=False, accel="tcg") as g:
        launch = hypervisor.launch(g)
        g.cancel()
        with pytest.raises(ApplianceKilled, match="launch was cancelled"):
            launch.result()
        assert is_gone(hypervisor.pid)


def test_a_call_that_waits_too_long_for_another_threads_call_never_runs(hypervisor: Any) -> None:
    with Guestfs(environment=False, accel="tcg", queue_timeout=0.05) as g:
        launch = hypervisor.launch(g)
        with pytest.raises(CallTimeout, match=r"waited longer than 0\.05 s .*did not run") as caught:
            g.set_memsize(700)
        assert (caught.value.op, caught.value.clock) == ("set_memsize", "queue_timeout")
        g.terminate()
        with pytest.raises(ApplianceKilled):
            launch.result()


def test_limits_that_are_no_numbers_of_seconds_are_refused() -> None:
    for name in ("launch_timeout", "call_timeout", "close_timeout", "cancel_grace", "queue_timeout"):
        wrong: tuple[tuple[Any, type[Exception]], ...] = (
            ("5", TypeError), (True, TypeError), (-1, ValueError), (float("nan"), ValueError),
        )  # fmt: skip
        for value, error in wrong:
            with pytest.raises(error, match=rf"Guestfs\(\) argument '{name}' must"):
                Guestfs(**{name: value})
    without: Any = {"cancel_grace": None}  # what cannot be stopped would never be
    with pytest.raises(TypeError, match=r"argument 'cancel_grace' must be a number of seconds, not None"):
        Guestfs(**without)


def test_terminate_in_a_signals_handler_waited_for_the_thread_that_it_had_interrupted() -> None:
    g = AsyncGuestfs()

    def handler() -> None:
        with g._calls._lock:  # as a method of the handle has it
            g.terminate()

    thread = threading.Thread(target=handler, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    "error",
    [
        ApplianceKilled("cat", "killed", 5, ["line"]),
        CallTimeout("cat", "late", errno.ETIMEDOUT, 2.5, "call_timeout", ["line"]),
    ],
)
def test_the_errors_of_work_that_was_ended_can_be_pickled(error: Error) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert vars(copy) == vars(error)
    assert copy.console == ("line",)


# ---- signals, in a separate interpreter, because pytest needs its own main thread

PROGRAM = """
import os, signal, sys, threading
import guestkit
folder, how = sys.argv[1:]
def handle():
    g = guestkit.Guestfs(environment=False, accel="tcg")
    g.set_hv(folder + "/hypervisor")
    g.set_path(folder + "/appliance")
    g.set_cachedir(folder)
    g.set_tmpdir(folder)
    g.add_drive(folder + "/disk", format="raw")
    return g
g = handle()
if how == "handler":
    signal.signal(signal.SIGINT, lambda *_: (print("handled", flush=True), g.terminate()))
elif how == "callback":
    def callback(event, number, text, numbers):
        assert threading.current_thread() is threading.main_thread()
        if text != "get_memsize":
            assert g.get_memsize() == 1280  # a call in a call
        if text == "launch":
            g.delete_event_callback(number)
            raise KeyboardInterrupt
    g.set_event_callback(callback, guestkit.Event.ENTER)
elif how == "exit":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
elif how == "another":
    def handler(*_):
        guestkit.Guestfs().disk_create(folder + "/another", "raw", 1 << 20)
        sys.exit(7)
    signal.signal(signal.SIGTERM, handler)
elif how == "own":
    def callback(event, number, text, numbers):
        if text == "launch":
            other.launch()
    other = handle()
    g.set_event_callback(callback, guestkit.Event.ENTER)
    def handler(*_):
        other.terminate()
        print(g.get_memsize(), flush=True)
        sys.exit(7)
    signal.signal(signal.SIGTERM, handler)
elif how == "within":
    def callback(event, number, text, numbers):
        if text == "launch":
            handle().launch()
    g.set_event_callback(callback, guestkit.Event.ENTER)
try:
    g.launch()
except BaseException as error:
    print(type(error).__name__, flush=True)
    if isinstance(error, SystemExit):
        raise
try:
    g.get_memsize()
except guestkit.Error as error:
    print(error, flush=True)
g.close()
"""


def interrupted(hypervisor: Any, how: str, number: signal.Signals | None) -> tuple[int, str]:
    """Run a program that launches, send it the signal; return its exit status and output."""
    folder = hypervisor.path.parent
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, folder, how], stdout=subprocess.PIPE, text=True
    ) as process:
        if number is not None:
            hypervisor.wait_until_started()
            process.send_signal(number)
        output, _ = process.communicate(timeout=PATIENCE)
    if number is not None:
        assert is_gone(hypervisor.pid)
    return process.returncode, output


def test_ctrl_c_during_a_call_ends_it_and_leaves_no_hypervisor(hypervisor: Any) -> None:
    status, output = interrupted(hypervisor, "", signal.SIGINT)
    assert output.splitlines() == [
        "KeyboardInterrupt",
        "get_memsize: the appliance was killed: launch was cancelled and did not end; open a new handle",
    ]
    assert status == 0


def test_a_signal_handler_runs_during_a_call_and_may_terminate_it(hypervisor: Any) -> None:
    status, output = interrupted(hypervisor, "handler", signal.SIGINT)
    assert output.splitlines()[:2] == ["handled", "ApplianceKilled"]
    assert status == 0


def test_a_signal_handler_that_exits_ends_the_call(hypervisor: Any) -> None:
    assert interrupted(hypervisor, "exit", signal.SIGTERM) == (7, "SystemExit\n")


def test_a_call_in_a_signal_handler_waited_for_the_call_that_the_signal_had_interrupted(
    hypervisor: Any,
) -> None:
    """Regression: one thread made all calls of the main thread, and was busy with the first."""
    assert interrupted(hypervisor, "another", signal.SIGTERM) == (7, "SystemExit\n")
    assert (hypervisor.path.parent / "another").stat().st_size == 1 << 20


def test_a_signal_handler_calls_the_handle_that_waits_for_its_own_callback(hypervisor: Any) -> None:
    """Otherwise the handler waits for the turn of that handle, and the turn for the callback below it."""
    status, output = interrupted(hypervisor, "own", signal.SIGTERM)
    assert (status, output.splitlines()[-1]) == (7, "SystemExit")


def test_ctrl_c_ended_the_call_in_a_callback_and_not_the_one_around_it(hypervisor: Any) -> None:
    """Regression: the callback saw an error, and the outer call went on."""
    _, output = interrupted(hypervisor, "within", signal.SIGINT)
    assert output.splitlines()[0] == "KeyboardInterrupt"


def test_a_keyboard_interrupt_in_an_event_callback_ends_the_call(hypervisor: Any) -> None:
    hypervisor.release()  # the launch fails soon
    _, output = interrupted(hypervisor, "callback", None)
    assert output.splitlines()[0] == "KeyboardInterrupt"


def test_calls_of_other_threads_go_on_when_the_main_thread_is_interrupted(hypervisor: Any) -> None:
    launched = threading.Event()
    with Guestfs(environment=False, accel="tcg") as g:
        launch = hypervisor.launch(g)
        before = signal.signal(signal.SIGALRM, lambda *_: launched.set())
        try:
            os.kill(os.getpid(), signal.SIGALRM)
            assert launched.wait(PATIENCE)
        finally:
            signal.signal(signal.SIGALRM, before)
        assert launch.running
        g.terminate()
        with pytest.raises(ApplianceKilled):
            launch.result()


# The other thread's call holds the turn, in its callback, until the main thread's has been interrupted.
WAITING = """
import os, signal, sys, threading
from guestkit import Error, Event, Guestfs
folder, how, use = sys.argv[1:]
g = Guestfs(environment=False, queue_timeout=60)
running, interrupted = threading.Event(), threading.Event()
def hold(event, number, text, numbers):
    if text == "get_smp":
        running.set()
        at_once = interrupted.wait(10)
        g.get_verbose()  # raises if the turn was cancelled
        print("interrupted at once" if at_once else "waited for the other call")
def call():
    try:
        print("the other call:", g.get_smp())
    except Error as error:
        print("the other call:", error)
def handler(*_):
    if how == "Ctrl-C":
        os.kill(os.getpid(), signal.SIGINT)
    else:
        raise TimeoutError
g.set_event_callback(hold, Event.ENTER)
other = threading.Thread(target=call)
other.start()
running.wait()
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.2)
try:
    exec(use)
except BaseException as error:
    print(type(error).__name__)
interrupted.set()
other.join()
print(g.get_memsize())
g.close()
"""


@pytest.mark.parametrize(("how", "raised"), [("Ctrl-C", "KeyboardInterrupt"), ("alarm", "TimeoutError")])
@pytest.mark.parametrize("use", ["g.set_memsize(700)", "g.launch()", "g.mounted(folder).__enter__()"])
def test_a_signal_while_a_call_waits_for_its_turn_ended_the_call_of_another_thread(
    python: Any, tmp_path: Path, how: str, raised: str, use: str
) -> None:
    """Regression: and the call that waited ran after it."""
    done = python(WAITING, tmp_path, how, use)
    said = [raised, "interrupted at once", "the other call: 1", "1280"]
    assert done.stdout.splitlines() == said, done.stderr


def test_a_signal_handler_that_outlasts_its_call_ended_the_next_call_of_another_thread(
    python: Any, tmp_path: Path
) -> None:
    program = """
import signal, sys, threading
from guestkit import Error, Event, Guestfs
g = Guestfs(environment=False)
running, first, next_runs, raised = (threading.Event() for _ in range(4))
def hold(event, number, text, numbers):
    if text == "get_smp":
        running.set()
        first.wait(20)
        g.delete_event_callback(number)  # or the main thread's call would run it, below the handler
    elif text == "get_pgroup":
        next_runs.set()
        raised.wait(20)
        g.get_verbose()  # raises if the turn was cancelled
        print("its turn goes on")
def next_call():
    g.get_memsize()  # after the main thread's call
    g.set_event_callback(hold, Event.ENTER)
    try:
        print("the next call:", g.get_pgroup())
    except Error as error:
        print("the next call:", error)
def handler(*_):
    first.set()
    open(sys.argv[1]).close()  # waits until the main thread's call has opened it, which then ends
    other.start()
    next_runs.wait(20)
    raise TimeoutError
number = g.set_event_callback(hold, Event.ENTER)
holding, other = threading.Thread(target=g.get_smp), threading.Thread(target=next_call)
holding.start()
running.wait()
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.2)
try:
    g.internal_test_set_output(sys.argv[1])
except TimeoutError:
    print("TimeoutError")
raised.set()
other.join()
"""
    os.mkfifo(tmp_path / "fifo")
    done = python(program, tmp_path / "fifo")
    said = ["TimeoutError", "its turn goes on", "the next call: False"]
    assert done.stdout.splitlines() == said, done.stderr


# Regression: the first call raised a plain RuntimeError and kept the handle's turn; close() raised EDEADLK.
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become a user who may have one thread")
def test_where_no_thread_can_be_started_calls_say_so_and_close_works(open_checkout: None) -> None:
    program = """
import asyncio, errno, os, resource
from guestkit import AsyncGuestfs, Error, Guestfs
os.setresuid(23456, 23456, 23456)
g = Guestfs(environment=False, accel="tcg")
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
def said(error):
    return error.errno == errno.EAGAIN and "no thread can be started" in error.message
g.add_drive("/dev/null", format="raw", readonly=True)
try:
    g.launch()  # its time limit needs a thread
except Error as error:
    print("launch", said(error))
print(g.get_memsize() > 0, g.is_idle())
g.close()
async def main():
    async with AsyncGuestfs(environment=False) as g:
        try:
            await g.get_memsize()
        except Error as error:
            print("await", said(error))
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "launch True\nTrue True\nawait True\n", done.stderr
