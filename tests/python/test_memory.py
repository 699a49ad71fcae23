"""No call leaks: ten thousand of each kind leave the memory as it was."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import itertools
import mmap
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from guestkit import (
    AsyncGuestfs,
    Error,
    Event,
    Guestfs,
    HandleClosed,
    Key,
    _native,
    opening,
    probe,
    set_appliance_limit,
)
from guestkit.compat import GuestFS
from guestkit.inspection import InspectOptions
from tests.leaks import CALLS, COUNTED, Call, leaks


@pytest.fixture(scope="module", autouse=True)
def _quick_collections() -> Iterator[None]:
    """Exclude objects that exist already from garbage collections, which would take most of the time."""
    gc.freeze()
    yield
    gc.unfreeze()


# ---- the measurement itself

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
READ_WRITE = mmap.PROT_READ | mmap.PROT_WRITE
ANONYMOUS = mmap.MAP_PRIVATE | mmap.MAP_ANON | 0x8000  # MAP_POPULATE: resident at once
kept: list[object] = []


def leak_pages() -> None:
    libc.mmap(None, mmap.PAGESIZE, READ_WRITE, ANONYMOUS, -1, 0)


@pytest.mark.skipif(not COUNTED, reason="under valgrind or a sanitizer, nothing is counted")
@pytest.mark.parametrize(
    ("leak", "counter", "calls"),
    [
        (lambda: libc.malloc(16), "C bytes", CALLS),
        (lambda: kept.append(object()), "Python blocks", CALLS),
        (lambda: ctypes.pythonapi.Py_IncRef(ctypes.py_object(Error)), "references", 100),
        (lambda: ctypes.pythonapi.Py_DecRef(ctypes.py_object(Error)), "references", 100),
        (leak_pages, "resident bytes", 1000),
    ],
    ids=["16 bytes", "an object", "a reference", "a reference too few", "a page"],
)
def test_a_leak_is_seen(leak: Call, counter: str, calls: int) -> None:
    spare = [Error] * 10_000  # so that the class outlives the test
    before = sys.getrefcount(Error)
    assert counter in leaks(leak, calls)
    kept.clear()
    excess = sys.getrefcount(Error) - before
    put_right = ctypes.pythonapi.Py_DecRef if excess > 0 else ctypes.pythonapi.Py_IncRef
    for _ in range(abs(excess)):
        put_right(ctypes.py_object(Error))
    del spare


# ---- every kind of call


def failing(call: Call, error: type[Exception] = Error) -> Call:
    """Return a call that makes this one, and expects it to fail."""

    def fail() -> None:
        try:
            call()
        except error:
            return
        raise AssertionError("the call did not fail")

    return fail


@pytest.fixture
def sink(g: Guestfs) -> Guestfs:
    """A handle whose internal_test writes what it received to /dev/null."""
    g.internal_test_set_output("/dev/null")
    return g


TEXT = "a text of more characters than fit into a std::string"
EMPTY: dict[str, Any] = {
    "str": "", "optstr": None, "strlist": [], "b": False, "integer": 0, "integer64": 0,
    "filein": "", "fileout": "", "bufferin": b"",
}  # fmt: skip

ARGUMENTS: dict[str, dict[str, Any]] = {
    "str": {"str": TEXT},
    "str not in ASCII": {"str": "ünïcödé " + TEXT},
    "str with surrogates": {"str": "\udcff" + TEXT},
    "bytes": {"str": TEXT.encode()},
    "path": {"filein": Path(TEXT)},
    "optional": {"optstr": TEXT},
    "list": {"strlist": [TEXT, "\udcff", TEXT.encode(), Path("path")]},
    "tuple": {"strlist": (TEXT, TEXT)},
    "dict as a list": {"strlist": {TEXT: 1}},
    "numbers": {"b": True, "integer": 2**31 - 1, "integer64": 2**63 - 1},
    "buffer": {"bufferin": TEXT.encode()},
    "bytearray": {"bufferin": bytearray(100)},
    "memoryview": {"bufferin": memoryview(bytes(100))[10:]},
    "numbers as options": {"obool": True, "oint": 1, "oint64": 2**40},
    "text as option": {"ostring": TEXT},
    "list as option": {"ostringlist": [TEXT, "\udcff", TEXT.encode()]},
    "option that is not given": {"ostring": None},
}


@pytest.mark.parametrize("kind", ARGUMENTS)
def test_arguments(sink: Guestfs, kind: str) -> None:
    given = EMPTY | ARGUMENTS[kind]
    assert leaks(lambda: sink.internal_test(**given)) == {}


def test_arguments_by_position(sink: Guestfs) -> None:
    method: Any = sink.internal_test
    assert leaks(lambda: method(*EMPTY.values(), True, 1)) == {}


def test_an_iterator_as_a_list(sink: Guestfs) -> None:
    others = {name: value for name, value in EMPTY.items() if name != "strlist"}
    assert leaks(lambda: sink.internal_test(strlist=map(str, range(3)), **others)) == {}


RESULTS: dict[str, Callable[[Guestfs], object]] = {
    "nothing": lambda g: g.set_memsize(1000),
    "int": lambda g: g.internal_test_rint("1000000"),
    "int64": lambda g: g.internal_test_rint64("1000000000000"),
    "bool": lambda g: g.internal_test_rbool("true"),
    "string": lambda g: g.internal_test_rstring(TEXT),
    "string that is not UTF-8": lambda g: g.internal_test_rstring(b"\xff"),
    "const string": lambda g: g.internal_test_rconststring(""),
    "const optional string": lambda g: g.internal_test_rconstoptstring(""),
    "const optional string that is absent": lambda g: g.internal_test_rconstoptstringerr(),
    "list": lambda g: g.internal_test_rstringlist("5"),
    "empty list": lambda g: g.internal_test_rstringlist("0"),
    "hashtable": lambda g: g.internal_test_rhashtable("5"),
    "bytes": lambda g: g.internal_test_rbufferout(TEXT),
    "no bytes": lambda g: g.internal_test_rbufferout(""),
    "memoryview": lambda g: g.internal_test_rbufferout(TEXT, memoryview=True),
    "slice of a memoryview": lambda g: g.internal_test_rbufferout(TEXT, memoryview=True)[1:],
    "released memoryview": lambda g: g.internal_test_rbufferout(TEXT, memoryview=True).release(),
    "struct": lambda g: g.internal_test_rstruct(""),
    "struct list": lambda g: g.internal_test_rstructlist("2"),
    "version": lambda g: g.version(),
}


@pytest.mark.parametrize("kind", RESULTS)
def test_results(g: Guestfs, kind: str) -> None:
    assert leaks(lambda: RESULTS[kind](g)) == {}


ERRORS = [name for name in dir(Guestfs) if name.startswith("internal_test_r") and name.endswith("err")]
ERRORS.remove("internal_test_rconstoptstringerr")  # an absent text is no error


@pytest.mark.parametrize("name", ERRORS)
def test_errors(g: Guestfs, name: str) -> None:
    assert leaks(failing(getattr(g, name))) == {}


def test_an_error_of_a_memoryview(g: Guestfs) -> None:
    assert leaks(failing(lambda: g.internal_test_rbufferouterr(memoryview=True))) == {}


class BadPath:
    def __fspath__(self) -> str:
        raise KeyError("path")


def bad_iterator() -> Iterator[str]:
    yield TEXT
    raise KeyError("iterator")


MISTAKES: dict[str, tuple[type[Exception], Callable[[], dict[str, Any]]]] = {
    "wrong type": (TypeError, lambda: {"str": 1}),
    "wrong type in a list": (TypeError, lambda: {"strlist": [TEXT, "\udcff", 1]}),
    "wrong type after right ones": (
        TypeError,
        lambda: {"strlist": [TEXT], "optstr": "\udcff", "bufferin": 1},
    ),
    "wrong type of an option": (TypeError, lambda: {"bufferin": bytes(9), "ostringlist": ["a", 1]}),
    "no list": (TypeError, lambda: {"strlist": 1}),
    "NUL": (ValueError, lambda: {"str": "a\0b"}),
    "NUL in bytes": (ValueError, lambda: {"str": b"\xff\0"}),
    "too big": (OverflowError, lambda: {"integer": 2**31}),
    "far too big": (OverflowError, lambda: {"integer64": 2**64}),
    "unknown option": (TypeError, lambda: {TEXT: 1}),
    "not contiguous": (TypeError, lambda: {"bufferin": memoryview(bytes(9))[::2]}),
    "path that raises": (KeyError, lambda: {"str": BadPath()}),
    "iterator that raises": (KeyError, lambda: {"strlist": bad_iterator()}),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_mistakes(sink: Guestfs, kind: str) -> None:
    error, given = MISTAKES[kind]
    assert leaks(failing(lambda: sink.internal_test(**EMPTY | given()), error)) == {}


def test_missing_superfluous_and_repeated_arguments(g: Guestfs) -> None:
    method: Any = g.set_memsize
    for call in (method, lambda: method(1, 2), lambda: method(1, memsize=1)):
        assert leaks(failing(call, TypeError)) == {}


def test_deprecated_calls(g: Guestfs) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert leaks(failing(lambda: g.set_qemu("/nowhere"), DeprecationWarning)) == {}


def test_calls_on_a_closed_handle(g: Guestfs) -> None:
    g.close()
    assert leaks(failing(g.get_memsize, HandleClosed)) == {}
    assert leaks(g.close) == {}


def test_launches_that_fail(g: Guestfs, tmp_path: Path) -> None:
    for name in ("kernel", "initrd", "root", "README.fixed"):
        (tmp_path / name).write_bytes(b"")  # damaged, so that launch fails before it starts a program
    g.set_path(tmp_path)
    assert leaks(failing(g.launch)) == {}


def check_disk() -> None:
    *_, descriptors = _native.check_disk(
        "convert", sys.executable, opening.OpenDiskOptions(format="raw").native("convert"), False
    )
    for descriptor in descriptors:
        os.close(descriptor)


def test_disks(g: Guestfs) -> None:
    assert leaks(lambda: probe(sys.executable)) == {}
    assert leaks(check_disk) == {}
    assert leaks(failing(lambda: g.open_disk("/nowhere"))) == {}
    assert leaks(failing(lambda: g.open_disk(sys.executable, format="qcow2"))) == {}
    assert leaks(failing(lambda: g.open_disk(sys.executable, protocols=(1,)), TypeError)) == {}  # type: ignore[arg-type]


def test_inspection_and_files(g: Guestfs) -> None:
    assert leaks(failing(lambda: g.inspect(keys=[Key(TEXT)], step=print))) == {}
    assert leaks(failing(lambda: g._inspect_disks(["/nowhere"], InspectOptions()))) == {}
    assert leaks(failing(lambda: g._inspect_disks([1], InspectOptions()), TypeError)) == {}  # type: ignore[list-item]
    assert leaks(failing(lambda: g.read_small("/etc/hosts"))) == {}
    assert leaks(failing(lambda: g.read_small("/etc/hosts", limit=-1), OverflowError)) == {}
    paths: list[str | bytes] = ["/etc/hosts", b"\xff", TEXT]
    assert leaks(lambda: g.read_files(paths)) == {}  # fails for each
    assert leaks(failing(lambda: g.walk("/"))) == {}
    assert leaks(failing(lambda: g.extract("/etc", "/"))) == {}
    assert leaks(lambda: set_appliance_limit(None)) == {}


# ---- handles


def with_a_disk() -> None:
    with handle() as g:
        g.open_disk(sys.executable, format="raw")


def handle() -> Guestfs:
    return Guestfs(environment=False, accel="tcg")


def closed_with_a_callback() -> None:
    g = handle()
    g.set_event_callback(lambda *event: g, Event.ALL)  # a reference cycle, until the handle is closed
    g.close()


HANDLES: dict[str, Call] = {
    "closed": lambda: handle().close(),
    "dropped": handle,
    "with": lambda: handle().__enter__().__exit__(None, None, None),
    "environment": lambda: Guestfs(accel="tcg").close(),
    "not closed at exit": lambda: Guestfs(close_on_exit=False, accel="tcg").close(),
    "with a callback": closed_with_a_callback,
    "with a disk": with_a_disk,
    "wrong accel": failing(lambda: Guestfs(accel="x"), ValueError),  # type: ignore[arg-type]
    "compat": lambda: GuestFS().close(),
    "compat with": lambda: GuestFS(python_return_dict=True).__enter__().__exit__(None, None, None),
}


@pytest.mark.parametrize("kind", HANDLES)
def test_handles(kind: str) -> None:
    # A handle takes as long as a hundred calls; two thousand are enough to show a leak of eight bytes each.
    assert leaks(HANDLES[kind], calls=min(CALLS, 2000)) == {}


def test_a_handle_that_was_never_made() -> None:
    method: Any = Guestfs.get_memsize
    assert leaks(failing(lambda: method(Guestfs.__new__(Guestfs)), TypeError)) == {}


def test_compat_results_and_callbacks() -> None:
    g = GuestFS()
    assert leaks(lambda: g.internal_test_rhashtable("5")) == {}
    assert leaks(lambda: g.internal_test_rbool("true")) == {}
    with pytest.raises(Error):
        g.internal_test_rinterr()
    g.set_event_callback(lambda *event: None, int(Event.ALL))
    assert leaks(g.get_memsize) == {}
    g.close()


# ---- events


def test_events(g: Guestfs) -> None:
    seen = itertools.count()
    g.set_trace(True)
    g.set_event_callback(lambda *event: next(seen), Event.ALL)
    assert leaks(lambda: g.set_path(TEXT)) == {}
    assert next(seen) > CALLS  # they were delivered


def test_callbacks_that_raise(g: Guestfs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: None)

    def fails(*event: object) -> None:
        raise KeyError(TEXT)

    g.set_event_callback(fails, Event.ENTER)
    assert leaks(g.get_memsize) == {}


def test_callbacks_that_come_and_go(g: Guestfs) -> None:
    def come_and_go() -> None:
        g.delete_event_callback(g.set_event_callback(lambda *event: None, Event.ENTER))

    assert leaks(come_and_go) == {}


def test_callbacks_that_are_refused(g: Guestfs) -> None:
    register: Any = g.set_event_callback
    assert leaks(failing(lambda: register(None), TypeError)) == {}
    assert leaks(failing(lambda: register(print, "x"), TypeError)) == {}
    assert leaks(failing(lambda: g.delete_event_callback(12345))) == {}


# ---- threads and asyncio


def test_threads() -> None:
    # A new handle in each round: libguestfs keeps some hundred bytes per thread until it is closed.
    def both() -> None:
        with handle() as g:

            def repeat() -> None:
                for _ in range(CALLS // 200):
                    g.internal_test_rstringlist("5")
                    with contextlib.suppress(Error):
                        g.internal_test_rinterr()

            threads = [threading.Thread(target=repeat) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    assert leaks(both, 100) == {}


def test_async_calls() -> None:
    async def fifty() -> None:
        for _ in range(50):
            await g.internal_test_rbufferout(TEXT, memoryview=True)
            with contextlib.suppress(Error):
                await g.internal_test_rinterr()

    g = AsyncGuestfs(accel="tcg")
    with asyncio.Runner() as runner:
        assert leaks(lambda: runner.run(fifty()), max(1, CALLS // 100), each=100) == {}
        runner.run(g.close())


def test_async_handles() -> None:
    async def one() -> None:
        async with AsyncGuestfs(accel="tcg") as g:
            await g.set_event_callback(lambda *event: None, Event.ENTER)
            await g.get_memsize()

    with asyncio.Runner() as runner:
        assert leaks(lambda: runner.run(one()), max(1, CALLS // 10)) == {}
