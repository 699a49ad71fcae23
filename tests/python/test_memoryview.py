"""Results of bytes as memoryviews: libguestfs' own memory, without a copy."""

from __future__ import annotations

import pickle
import tracemalloc
from typing import Any

import pytest

from guestkit import AsyncGuestfs, Error, Guestfs, HandleClosed
from guestkit.compat import GuestFS

BYTES = b"\xff\xfe some bytes \x80"


@pytest.mark.parametrize("value", [b"", b"test", BYTES, b"x" * 2**20])
def test_the_bytes_are_the_same(g: Guestfs, value: bytes) -> None:
    view = g.internal_test_rbufferout(value, memoryview=True)
    assert type(view) is memoryview
    assert view == value == bytes(view)
    assert (view.format, view.itemsize, view.ndim, view.nbytes) == ("B", 1, 1, len(value))


def test_bytes_are_what_comes_without_it(g: Guestfs) -> None:
    for result in (g.internal_test_rbufferout(BYTES), g.internal_test_rbufferout(BYTES, memoryview=False)):
        assert type(result) is bytes


def test_a_keyword_alone_asks_for_it(g: Guestfs) -> None:
    method: Any = g.internal_test_rbufferout
    with pytest.raises(TypeError, match=r"takes at most 1 positional arguments \(2 given\)$"):
        method("text", True)


@pytest.mark.parametrize("wrong", [None, "yes", 1.0, object()])
def test_it_is_a_bool_and_wrong_before_the_call(g: Guestfs, wrong: Any) -> None:
    method: Any = g.internal_test_rbufferouterr  # always fails, if libguestfs is called
    with pytest.raises(
        TypeError, match=r"^internal_test_rbufferouterr\(\) argument 'memoryview' must be bool"
    ):
        method(memoryview=wrong)


def test_other_actions_do_not_take_it(g: Guestfs) -> None:
    method: Any = g.internal_test_rstring
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'memoryview'$"):
        method("text", memoryview=True)


def test_every_action_that_returns_bytes_takes_it(g: Guestfs, api: dict[str, Any]) -> None:
    g.close()
    actions = [a for a in api["actions"] if a["ret"]["kind"] == "bufferout" and hasattr(g, a["name"])]
    assert len(actions) >= 11
    for action in actions:
        arguments: dict[str, Any] = {
            argument["name"]: 1 if argument["type"].startswith("int") else "x" for argument in action["args"]
        }
        with pytest.raises(HandleClosed):  # the arguments were taken
            getattr(g, action["name"])(**arguments, memoryview=True)


def test_an_error_is_an_error(g: Guestfs) -> None:
    with pytest.raises(Error, match="^internal_test_rbufferouterr: "):
        g.internal_test_rbufferouterr(memoryview=True)


@pytest.mark.blocking_handle
def test_nothing_is_copied(g: Guestfs) -> None:
    text = "x" * 2**22
    g.internal_test_rbufferout(text, memoryview=True)
    tracemalloc.start()
    try:
        view = g.internal_test_rbufferout(text, memoryview=True)
        _, as_view = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        copy = g.internal_test_rbufferout(text)
        _, as_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert view == copy
    assert as_view < 10_000  # Python allocated the view, but not its content
    assert as_bytes > 2**22


def test_it_is_writable_and_the_callers_own(g: Guestfs) -> None:
    first = g.internal_test_rbufferout("abc", memoryview=True)
    second = g.internal_test_rbufferout("abc", memoryview=True)
    assert not first.readonly
    first[0:1] = b"X"
    assert (bytes(first), bytes(second)) == (b"Xbc", b"abc")


def test_it_outlives_the_handle_and_the_first_view() -> None:
    handle = Guestfs(environment=False, accel="tcg")
    view = handle.internal_test_rbufferout("0123456789" * 100_000, memoryview=True)
    part = view[5:]
    handle.close()
    del handle
    view.release()
    del view
    assert bytes(part[:10]) == b"5678901234"
    assert len(part) == 999_995


def test_it_goes_in_as_bytes_again(g: Guestfs) -> None:
    view = g.internal_test_rbufferout(BYTES, memoryview=True)
    assert b"".join([view, view]) == 2 * BYTES
    with pytest.raises(Error, match="launch"):  # the argument was accepted, and the call was made
        g.write("/file", view)


def test_it_cannot_be_pickled_like_any_memoryview(g: Guestfs) -> None:
    with pytest.raises(TypeError, match="memoryview"):
        pickle.dumps(g.internal_test_rbufferout("text", memoryview=True))


def test_the_owner_cannot_be_made_by_hand(g: Guestfs) -> None:
    owner = type(g.internal_test_rbufferout("text", memoryview=True).obj)
    with pytest.raises(TypeError, match="cannot create"):
        owner()


async def test_the_async_handle_has_it() -> None:
    async with AsyncGuestfs(accel="tcg") as g:
        view = await g.internal_test_rbufferout(BYTES, memoryview=True)
        plain = await g.internal_test_rbufferout(BYTES)
    assert type(view) is memoryview
    assert type(plain) is bytes
    assert view == plain == BYTES


def test_the_drop_in_has_it() -> None:
    g = GuestFS(python_return_dict=True)
    assert g.internal_test_rbufferout(BYTES, memoryview=True) == BYTES
    g.close()
