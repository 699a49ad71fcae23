"""Events: the callbacks of a handle."""

from __future__ import annotations

import contextlib
import gc
import re
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from guestkit import Error, Event, Guestfs, HandleClosed, LaunchError

if TYPE_CHECKING:
    from tests.python.conftest import Background, Hypervisor


class Delivery(NamedTuple):
    event: Event
    number: int
    text: str
    numbers: list[int]


class Recorder(list[Delivery]):
    """A callback that records its arguments."""

    def __call__(self, event: Event, number: int, text: str, numbers: list[int]) -> None:
        self.append(Delivery(event, number, text, numbers))

    __hash__ = object.__hash__  # type: ignore[assignment]

    @property
    def texts(self) -> list[str]:
        return [delivery.text for delivery in self]


@pytest.fixture
def unraisable(monkeypatch: pytest.MonkeyPatch) -> list[BaseException | None]:
    """Collect the exceptions that reach sys.unraisablehook."""
    caught: list[BaseException | None] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: caught.append(unraisable.exc_value))
    return caught


@pytest.fixture
def traced(g: Guestfs) -> Guestfs:
    """A handle that sends ENTER and TRACE events for every call."""
    g.set_trace(True)
    return g


# ---- flags


def test_the_flags_are_those_of_the_table(api: dict[str, Any]) -> None:
    flags = {flag.name: flag.value for flag in Event}
    assert flags == {event["name"].upper(): event["mask"] for event in api["events"]}
    assert Event.ALL.value == sum(event["mask"] for event in api["events"])


def test_the_flags_are_those_of_the_installed_library(guestfs_h: str) -> None:
    defined = dict(
        re.findall(r"^#\s*define GUESTFS_EVENT_(\w+)\s+(?:UINT64_C ?\()?(0x\w+)", guestfs_h, re.MULTILINE)
    )
    assert len(defined) >= 10
    for name, value in defined.items():
        assert Event[name].value == int(value, 16)


def test_flags_combine_to_flags() -> None:
    both = Event.TRACE | Event.ENTER
    assert isinstance(both, Event)
    assert both.value == 64 + 128
    assert Event.TRACE in both
    assert Event.CLOSE not in both
    assert both in Event.ALL


# ---- the arguments of a callback


def test_a_callback_gets_the_event_its_number_a_text_and_numbers(traced: Guestfs) -> None:
    recorder = Recorder()
    number = traced.set_event_callback(recorder)
    assert type(number) is int
    traced.get_memsize()
    assert recorder == [
        (Event.ENTER, number, "get_memsize", []),
        (Event.TRACE, number, "get_memsize", []),
        (Event.TRACE, number, "get_memsize = 1280", []),
    ]
    for event, _, text, numbers in recorder:
        assert isinstance(event, Event)
        assert type(text) is str
        assert type(numbers) is list
    assert recorder[0].event is Event.ENTER


def test_only_the_events_that_were_asked_for_come(traced: Guestfs) -> None:
    recorders = {
        events: Recorder() for events in (Event.ENTER, Event.TRACE, Event.ENTER | Event.TRACE, Event.CLOSE)
    }
    for events, recorder in recorders.items():
        traced.set_event_callback(recorder, events)
    traced.get_memsize()
    assert {events: len(recorder) for events, recorder in recorders.items()} == {
        Event.ENTER: 1,
        Event.TRACE: 2,
        Event.ENTER | Event.TRACE: 3,
        Event.CLOSE: 0,
    }


def test_events_may_be_a_plain_int(traced: Guestfs) -> None:
    recorder = Recorder()
    traced.set_event_callback(recorder, Event.ENTER.value)
    traced.get_memsize()
    assert [delivery.event for delivery in recorder] == [Event.ENTER]


def test_arguments_by_name(traced: Guestfs) -> None:
    recorder = Recorder()
    number = traced.set_event_callback(callback=recorder, events=Event.ENTER)
    traced.get_memsize()
    traced.delete_event_callback(number=number)
    traced.get_memsize()
    assert recorder.texts == ["get_memsize"]


@pytest.mark.parametrize("callback", [None, 1, "print", object()])
def test_a_callback_that_cannot_be_called_is_refused(g: Guestfs, callback: Any) -> None:
    with pytest.raises(TypeError, match="callback"):
        g.set_event_callback(callback)


@pytest.mark.parametrize("events", [None, "1", 1.0, object()])
def test_events_that_are_no_flags_are_refused(g: Guestfs, events: Any) -> None:
    with pytest.raises(TypeError):
        g.set_event_callback(print, events)


@pytest.mark.parametrize("events", [-1, 2**64])
def test_events_beyond_64_bits_are_refused(g: Guestfs, events: int) -> None:
    with pytest.raises(OverflowError):
        g.set_event_callback(print, events)


@pytest.mark.parametrize("number", [None, "1", 1.5, object()])
def test_a_number_that_is_none_is_refused(g: Guestfs, number: Any) -> None:
    with pytest.raises(TypeError):
        g.delete_event_callback(number)


def test_each_registration_has_its_own_number(traced: Guestfs) -> None:
    recorder = Recorder()
    numbers = [traced.set_event_callback(recorder, Event.ENTER) for _ in range(3)]
    assert len(set(numbers)) == 3
    recorder.clear()
    traced.get_memsize()
    assert [delivery.number for delivery in recorder] == numbers


def test_a_text_that_is_not_utf8(traced: Guestfs) -> None:
    recorder = Recorder()
    traced.set_event_callback(recorder, Event.TRACE)
    traced.internal_test_rstring(b"\xff\xe9")
    assert all(isinstance(text, str) for text in recorder.texts)
    assert len(recorder) == 2


def test_warnings_and_library_lines_come_as_events_and_not_on_stderr(
    g: Guestfs, capfd: pytest.CaptureFixture[str]
) -> None:
    recorder = Recorder()
    g.set_event_callback(recorder, Event.LIBRARY)
    g.set_verbose(True)
    with pytest.raises(LaunchError):
        g.launch()  # without a disk
    assert any(text.startswith("launch: ") for text in recorder.texts)
    g.set_verbose(False)
    assert capfd.readouterr() == ("", "")


# ---- where a callback runs


def test_a_callback_runs_on_the_thread_of_the_call(
    traced: Guestfs, background: Callable[[Callable[[], object]], Background[Any]]
) -> None:
    threads: list[int] = []
    traced.set_event_callback(lambda *_: threads.append(threading.get_ident()), Event.ENTER)
    other = background(traced.get_memsize)
    assert other.result() == 1280
    traced.get_memsize()
    assert threads == [other.thread.ident, threading.get_ident()]


def test_events_of_calls_on_many_threads_all_come(
    traced: Guestfs, background: Callable[[Callable[[], object]], Background[Any]]
) -> None:
    recorder = Recorder()
    traced.set_event_callback(recorder, Event.ENTER)
    barrier = threading.Barrier(4)

    def calls() -> None:
        barrier.wait()
        for _ in range(200):
            traced.get_memsize()

    for thread in [background(calls) for _ in range(4)]:
        thread.result()
    assert recorder.texts == ["get_memsize"] * 800


def test_other_threads_run_while_a_launch_sends_events(traced: Guestfs, hypervisor: Hypervisor) -> None:
    recorder = Recorder()
    traced.set_event_callback(recorder)
    launch = hypervisor.launch(traced)
    assert "launch" in recorder.texts
    assert launch.running
    hypervisor.release()
    with pytest.raises(LaunchError):
        launch.result()
    # Restoring the settings, and looking at the handle, are calls of their own.
    said = [text for text in recorder.texts if text.startswith("launch")]
    assert said[-1] == "launch = -1 (error)"


def test_a_setting_brings_no_other_call_into_the_trace(traced: Guestfs) -> None:
    recorder = Recorder()
    traced.set_event_callback(recorder, Event.ENTER)
    traced.set_backend_setting("name", "value")
    assert recorder.texts == ["set_backend_setting"]


def test_a_callback_may_make_a_call_that_needs_no_appliance(traced: Guestfs) -> None:
    seen: list[object] = []

    def callback(event: Event, number: int, text: str, numbers: list[int]) -> None:
        if text == "get_path":
            seen.append(traced.get_memsize())
            with pytest.raises(Error, match="^internal_test_rinterr: error$"):
                traced.internal_test_rinterr()

    traced.set_event_callback(callback, Event.ENTER)
    traced.get_path()
    assert seen == [1280]


def test_an_error_in_a_callback_does_not_change_the_error_of_the_call(traced: Guestfs) -> None:
    def callback(event: Event, number: int, text: str, numbers: list[int]) -> None:
        if "internal_test_rint64err" in text:
            with contextlib.suppress(Error):
                traced.internal_test_set_output("/nowhere/x")

    traced.set_event_callback(callback, Event.TRACE | Event.ENTER)
    with pytest.raises(Error) as caught:
        traced.internal_test_rint64err()
    assert caught.value.args == ("internal_test_rint64err", "error", 0)


# ---- what a callback raises


def test_an_exception_goes_to_the_unraisable_hook_and_the_call_succeeds(
    unraisable: list[BaseException | None], traced: Guestfs
) -> None:
    error = KeyError("from the callback")

    def callback(*_: object) -> None:
        raise error

    number = traced.set_event_callback(callback, Event.ENTER)
    assert traced.get_memsize() == 1280
    assert unraisable == [error]
    traced.delete_event_callback(number)
    traced.get_memsize()
    assert unraisable == [error]


def test_an_exception_does_not_replace_the_error_of_the_call(
    unraisable: list[BaseException | None], traced: Guestfs
) -> None:
    def callback(*_: object) -> None:
        raise KeyError

    traced.set_event_callback(callback, Event.ENTER)
    with pytest.raises(Error, match="^internal_test_rinterr: error$"):
        traced.internal_test_rinterr()
    assert [type(error) for error in unraisable] == [KeyError]


def test_an_exception_keeps_nothing_from_the_other_callbacks(
    unraisable: list[BaseException | None], traced: Guestfs
) -> None:
    def callback(*_: object) -> None:
        raise KeyError

    before, after = Recorder(), Recorder()
    traced.set_event_callback(before, Event.ENTER)
    traced.set_event_callback(callback, Event.ENTER)
    traced.set_event_callback(after, Event.ENTER)
    before.clear()
    unraisable.clear()
    traced.get_memsize()
    assert before.texts == after.texts == ["get_memsize"]
    assert [type(error) for error in unraisable] == [KeyError]


def test_a_callback_that_takes_other_arguments(
    unraisable: list[BaseException | None], traced: Guestfs
) -> None:
    wrong: Any = lambda: None  # noqa: E731
    number = traced.set_event_callback(wrong, Event.ENTER)
    assert traced.get_memsize() == 1280
    traced.delete_event_callback(number)
    assert [type(error) for error in unraisable] == [TypeError]


def test_a_callback_that_raises_on_close(unraisable: list[BaseException | None]) -> None:
    def callback(*_: object) -> None:
        raise KeyError

    g = Guestfs()
    g.set_event_callback(callback, Event.CLOSE)
    g.close()
    assert not g.is_open()
    assert [type(error) for error in unraisable] == [KeyError]


def test_a_callback_that_raises_when_the_handle_is_dropped(unraisable: list[BaseException | None]) -> None:
    def callback(*_: object) -> None:
        raise KeyError

    g = Guestfs()
    g.set_event_callback(callback, Event.CLOSE)
    del g
    assert [type(error) for error in unraisable] == [KeyError]


def test_an_exception_that_is_on_its_way_survives_a_close() -> None:
    recorder = Recorder()

    def work() -> None:
        with Guestfs() as g:
            g.set_event_callback(recorder, Event.CLOSE)
            raise KeyError("the body's own")

    with pytest.raises(KeyError, match="the body's own"):
        work()
    assert [delivery.event for delivery in recorder] == [Event.CLOSE]


# ---- the end of a registration


def test_a_deleted_callback_gets_nothing(traced: Guestfs) -> None:
    deleted, kept = Recorder(), Recorder()
    number = traced.set_event_callback(deleted, Event.ENTER)
    traced.set_event_callback(kept, Event.ENTER)
    deleted.clear()
    kept.clear()
    traced.delete_event_callback(number)
    traced.get_memsize()
    assert deleted == []
    assert kept.texts == ["get_memsize"]


def test_a_number_that_is_unknown_is_an_error(g: Guestfs) -> None:
    number = g.set_event_callback(print)
    g.delete_event_callback(number)
    for unknown in (number, number + 1, -1, 2**31 - 1):
        with pytest.raises(Error, match="^delete_event_callback: .*number") as caught:
            g.delete_event_callback(unknown)
        assert caught.value.op == "delete_event_callback"


def test_a_callback_may_delete_itself(traced: Guestfs) -> None:
    recorder = Recorder()

    def once(event: Event, number: int, text: str, numbers: list[int]) -> None:
        recorder(event, number, text, numbers)
        traced.delete_event_callback(number)

    alive = weakref.ref(once)
    traced.set_event_callback(once, Event.ENTER)
    del once
    traced.get_memsize()
    traced.get_path()
    assert recorder.texts == ["get_memsize"]
    gc.collect()
    assert alive() is None


def test_a_callback_may_register_another(traced: Guestfs) -> None:
    recorder = Recorder()

    def callback(event: Event, number: int, text: str, numbers: list[int]) -> None:
        if text == "get_memsize":
            traced.set_event_callback(recorder, Event.ENTER)

    traced.set_event_callback(callback, Event.ENTER)
    traced.get_memsize()
    recorder.clear()
    traced.get_path()
    assert recorder.texts == ["get_path"]


@pytest.mark.parametrize("end", ["delete", "close", "drop"])
def test_a_callback_is_let_go(end: str) -> None:
    g: Guestfs | None = Guestfs()
    assert g is not None
    recorder = Recorder()
    alive = weakref.ref(recorder)
    number = g.set_event_callback(recorder, Event.ENTER)
    del recorder
    assert alive() is not None
    if end == "delete":
        g.delete_event_callback(number)
    elif end == "close":
        g.close()
    else:
        g = None
    gc.collect()
    assert alive() is None


def test_registrations_used_up_the_places_that_libguestfs_has(traced: Guestfs) -> None:
    recorder = Recorder()
    numbers = {traced.set_event_callback(recorder, Event.ENTER) for _ in range(1500)}
    assert len(numbers) == 1500
    for number in numbers:
        traced.delete_event_callback(number)
    recorder.clear()
    traced.set_event_callback(recorder, Event.ENTER)
    traced.get_memsize()
    assert recorder.texts == ["get_memsize"]


def test_registering_waited_for_a_launch(g: Guestfs, hypervisor: Hypervisor) -> None:
    launch = hypervisor.launch(g)
    number = g.set_event_callback(print, Event.PROGRESS)
    g.delete_event_callback(number)
    assert launch.running
    hypervisor.release()
    with pytest.raises(LaunchError):
        launch.result()


# ---- the end of a handle


def test_closing_sends_one_event() -> None:
    recorder = Recorder()
    g = Guestfs()
    number = g.set_event_callback(recorder)
    g.close()
    g.close()
    assert recorder == [(Event.CLOSE, number, "", [])]


def test_a_dropped_handle_sends_it_too() -> None:
    recorder = Recorder()
    g = Guestfs()
    g.set_event_callback(recorder, Event.CLOSE)
    del g
    assert [delivery.event for delivery in recorder] == [Event.CLOSE]


def test_the_handle_is_closed_for_the_callback_of_its_end() -> None:
    g = Guestfs()
    seen: list[object] = []

    def callback(*_: object) -> None:
        seen.append(g.is_open())
        for call in (g.get_path, lambda: g.set_event_callback(print)):
            with pytest.raises(HandleClosed):
                call()
        seen.append("done")

    g.set_event_callback(callback, Event.CLOSE)
    g.close()
    assert seen == [False, "done"]


def test_closing_in_a_callback_of_a_call_is_refused(traced: Guestfs) -> None:
    errors: list[Error] = []

    def callback(event: Event, number: int, text: str, numbers: list[int]) -> None:
        try:
            traced.close()
        except Error as error:
            errors.append(error)

    traced.set_event_callback(callback, Event.ENTER)
    assert traced.get_memsize() == 1280
    assert [error.op for error in errors] == ["close"]
    assert "callback" in errors[0].message


def test_closing_in_the_callback_of_the_end_does_not_hang(
    python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    program = """
import faulthandler, guestkit
faulthandler.dump_traceback_later(5, exit=True)
g = guestkit.Guestfs()
g.set_event_callback(lambda *_: g.close(), guestkit.Event.CLOSE)
g.close()
print(g)
"""
    done = python(program)
    assert (done.returncode, done.stdout) == (0, "<guestkit.Guestfs closed>\n")
    assert "close: called from inside" in done.stderr
