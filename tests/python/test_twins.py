"""Every async function takes the arguments of its blocking twin: same names, types and defaults."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from generators import facts

import guestkit
from guestkit import AsyncDiskConverter, AsyncGuestfs, DiskConverter, Guestfs
from guestkit.generated.progress import PROGRESS
from guestkit.inspection import InspectOptions

ROOT = Path(__file__).resolve().parents[2]

#: Methods that have no turn which a cancel could end: those that end a handle or its calls, or wait for none,
#: and a context manager.
WITHOUT_TURN = {
    "close", "delete_event_callback", "launch_info", "mount_info", "mounted", "set_event_callback",
    "terminate", "user_cancel",
}  # fmt: skip

TWINS = sorted(
    name
    for name in vars(Guestfs).keys() | vars(guestkit._native.Handle).keys()
    if not name.startswith("_") and hasattr(AsyncGuestfs, name)
)


def parameters(function: Callable[..., Any]) -> list[tuple[str, Any, Any, Any]]:
    """Return the names, kinds, defaults and annotations of the parameters, without self."""
    _, *rest = inspect.signature(function).parameters.values()
    return [(one.name, one.kind, one.default, one.annotation) for one in rest]


def keyword(name: str, default: object) -> tuple[str, Any, Any]:
    return name, inspect.Parameter.KEYWORD_ONLY, default


@pytest.mark.parametrize("name", TWINS)
def test_an_awaited_method_has_the_signature_of_its_blocking_twin(name: str) -> None:
    more = [] if name in WITHOUT_TURN else [keyword("on_cancel", "end")]
    if name in PROGRESS:
        more.insert(0, keyword("progress", None))
    awaited, blocking = parameters(getattr(AsyncGuestfs, name)), parameters(getattr(Guestfs, name))
    assert awaited[: len(blocking)] == blocking
    assert [one[:3] for one in awaited[len(blocking) :]] == more


def test_the_constructors_take_the_same_limits_and_options() -> None:
    awaited, blocking = parameters(AsyncGuestfs.__init__), parameters(Guestfs.__init__)
    assert [one for one in awaited if one[0] != "executor"] == blocking


def test_every_method_has_its_twin() -> None:
    assert len(TWINS) >= 588 + len(WITHOUT_TURN)
    blocking = {name for name in vars(Guestfs) if not name.startswith("_") and hasattr(Guestfs, name)}
    assert blocking - set(TWINS) == {"cancel", "is_open"}  # a task is cancelled; closed handles raise
    alone = {name for name in vars(AsyncGuestfs) if not name.startswith("_")} - set(TWINS)
    assert alone == {
        "download_stream",
        "events",
        "run",
        "tar_in_stream",
        "tar_out_stream",
        "upload_stream",
    }


def test_no_awaited_method_takes_just_anything() -> None:
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    for name in dir(AsyncGuestfs):
        if not name.startswith("_") and hasattr(AsyncGuestfs, name):  # libguestfs may lack an action
            given = inspect.signature(getattr(AsyncGuestfs, name)).parameters.values()
            assert [one for one in given if one.kind in kinds] == [], name


@pytest.mark.parametrize(("stream", "alike"), [("tar_out_stream", "tar_out"), ("tar_in_stream", "tar_in")])
def test_a_stream_takes_the_options_of_its_action(stream: str, alike: str) -> None:
    (known,) = [one for one in facts.load(ROOT / "api").actions if one.name == alike]
    taken = list(inspect.signature(getattr(AsyncGuestfs, stream)).parameters)
    assert taken[taken.index("directory") + 1 :] == [option.name for option in known.options]


@pytest.mark.parametrize("name", ["inspect", "inspect_many", "open_guest"])
def test_a_function_takes_the_same_blocking_and_awaited(name: str) -> None:
    blocking, awaited = getattr(guestkit, name), getattr(guestkit.aio, name)
    assert inspect.signature(blocking).parameters == inspect.signature(awaited).parameters
    assert inspect.signature(blocking).parameters["keys"].kind is inspect.Parameter.KEYWORD_ONLY


def test_a_converter_takes_the_same_blocking_and_awaited() -> None:
    names = [name for name in vars(DiskConverter) if not name.startswith("_")]
    assert names == [name for name in vars(AsyncDiskConverter) if not name.startswith("_")]
    for name in names:
        awaited = getattr(AsyncDiskConverter, name)
        assert inspect.signature(awaited) == inspect.signature(getattr(DiskConverter, name))
        assert asyncio.iscoroutinefunction(awaited)


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda g: g.set_event_callback("no function"), "callback"),
        (lambda g: g.extract("/", "/tmp", progress=1), "progress"),
        (lambda g: g.inspect(step=1), "step"),
        (lambda g: g.launch(progress=1), "progress"),
    ],
)
async def test_a_callback_that_is_none_is_refused_before_the_call_has_its_place(
    call: Callable[[AsyncGuestfs], Any], argument: str
) -> None:
    async with AsyncGuestfs() as g:
        with pytest.raises(TypeError, match=f"argument '{argument}' must be callable, not "):
            await call(g)


async def test_what_is_told_meanwhile_is_told_on_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[Any, ...]] = []

    def tell(*what: Any) -> None:
        told.append((*what, threading.current_thread() is loops))

    def inspect_disks(handle: Guestfs, disks: Any, options: InspectOptions) -> None:
        assert options.step is not None
        options.step("looking")

    def extract(handle: Guestfs, *_: Any, progress: Callable[[str, int], object], **__: Any) -> None:
        progress("/etc", 512)

    loops = threading.current_thread()
    monkeypatch.setattr(Guestfs, "_inspect_disks", inspect_disks)
    monkeypatch.setattr(Guestfs, "extract", extract)
    async with AsyncGuestfs() as g:
        await g.inspect(step=tell)
        await g.extract("/etc", "/tmp", progress=tell)
    await guestkit.aio.inspect("disk", step=tell)
    assert told == [("looking", True), ("/etc", 512, True), ("looking", True)]
