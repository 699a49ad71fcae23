"""guestkit.compat and libguestfs' own module, in one process, behave the same."""

from __future__ import annotations

import gc
import importlib
import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import guestkit.compat
from guestkit import structs

#: A column that was renamed in 1.57.6; guestkit has the newer name.
RENAMED = {"app2_spare1": "app2_class"}


def load_peer() -> ModuleType:
    """Import libguestfs' own module, from the system's Python."""
    sys.path.append("/usr/lib/python3/dist-packages")
    try:
        return importlib.import_module("guestfs")
    finally:
        sys.path.remove("/usr/lib/python3/dist-packages")


PEER = load_peer()
BOTH = [pytest.param(PEER, id="upstream"), pytest.param(guestkit.compat, id="compat")]

RESULTS = [
    ("internal_test_rint", "10"),
    ("internal_test_rint64", "10"),
    ("internal_test_rbool", "true"),
    ("internal_test_rbool", "false"),
    ("internal_test_rconststring", "test"),
    ("internal_test_rconstoptstring", "test"),
    ("internal_test_rstring", "test"),
    ("internal_test_rstringlist", "0"),
    ("internal_test_rstringlist", "5"),
    ("internal_test_rstruct", "unused"),
    ("internal_test_rstructlist", "0"),
    ("internal_test_rstructlist", "5"),
    ("internal_test_rhashtable", "0"),
    ("internal_test_rhashtable", "5"),
    ("internal_test_rbufferout", "01234567890123456789"),
]


@pytest.mark.parametrize("python_return_dict", [False, True])
@pytest.mark.parametrize(("name", "argument"), RESULTS)
def test_a_result_is_the_same_value_of_the_same_type(
    name: str, argument: str, python_return_dict: bool
) -> None:
    expected = getattr(PEER.GuestFS(python_return_dict=python_return_dict), name)(argument)
    actual = getattr(guestkit.compat.GuestFS(python_return_dict), name)(argument)
    assert actual == expected
    assert type(actual) is type(expected)
    if isinstance(expected, list) and expected:
        assert type(actual[0]) is type(expected[0])


@pytest.mark.parametrize("name", sorted({name + "err" for name, _ in RESULTS}))
def test_a_failure_is_a_runtime_error_on_both(name: str) -> None:
    if name == "internal_test_rconstoptstringerr":
        assert getattr(PEER.GuestFS(), name)() == getattr(guestkit.compat.GuestFS(), name)()
        return
    for module in (PEER, guestkit.compat):
        with pytest.raises(RuntimeError, match="error"):
            getattr(module.GuestFS(), name)()


#: The calls of upstream's bindtests, in another order: every kind of argument, options one by one.
ARGUMENTS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    (("abc", "def", [], False, 0, 0, "123", "456", b"abc\0abc"), {"obool": 1}),
    (("abc", "def", [], False, 0, 0, "123", "456", b"abc\0abc"), {"oint": 1}),
    (("abc", "def", [], False, 0, 0, "123", "456", b"abc\0abc"), {"oint64": 1}),
    (("abc", "def", [], False, 0, 0, "123", "456", b"abc\0abc"), {"ostring": "string"}),
    (("abc", "def", [], False, 0, 0, "123", "456", b""), {"ostringlist": []}),
    (("abc", "def", [], False, 0, 0, "123", "456", b""), {"ostringlist": ["optelem1", "optelem2"]}),
    (("abc", None, [], False, 0, 0, "123", "456", b"abc\0abc"), {}),
    (("", "def", [], False, 0, 0, "123", "456", b"abc\0abc"), {}),
    (("abc", "def", ["1", "2"], True, 0, 0, "123", "456", b"abc\0abc"), {}),
    (("abc", "def", ["1"], 1, -1, -1, "", "", b"\xff" * 300), {"obool": False, "oint": -2}),
    (("abc", "def", ["1"], False, 2**31 - 1, 2**63 - 1, "123", "456", b""), {"oint64": -(2**63)}),
    (("abc", "def", [], 0, 0, 0, "123", "456", "abc\0ü"), {}),
    (("é", "ü", ["ö"], False, -(2**31), 0, "123", "456", b""), {"ostring": ""}),
]


def received(module: ModuleType, path: Path) -> bytes:
    g = module.GuestFS()
    g.internal_test_set_output(str(path))
    for positional, options in ARGUMENTS:
        g.internal_test(*positional, **options)
    g.internal_test("abc", None, [], 0, 0, 0, "", "", bufferin="by name")
    g.internal_test_only_optargs(test=1)
    g.internal_test_63_optargs(opt1=1, opt63=63)
    g.internal_test_close_output()
    return path.read_bytes()


def test_arguments_reach_libguestfs_as_they_do_from_upstream(tmp_path: Path) -> None:
    expected = received(PEER, tmp_path / "upstream")
    assert expected.count(b"\n") > 100
    assert received(guestkit.compat, tmp_path / "compat") == expected


def test_nul_inside_a_text_is_as_the_document_says(tmp_path: Path) -> None:
    """Regression: the document said that upstream truncates every text at the NUL."""
    for number, changed, options in (
        (0, "a\0b", {}),
        (1, "a\0b", {}),
        (6, "a\0b", {}),
        (2, ["a\0b"], {}),
        (0, "a", {"ostring": "a\0b"}),
        (0, "a", {"ostringlist": ["a\0b"]}),
    ):
        positional: list[Any] = ["", None, [], False, 0, 0, "", "", b""]
        positional[number] = changed
        with pytest.raises(ValueError, match="NUL"):
            guestkit.compat.GuestFS().internal_test(*positional, **options)
        peer = PEER.GuestFS()
        peer.internal_test_set_output(str(tmp_path / "received"))
        if isinstance(changed, str) and not options:
            with pytest.raises(ValueError, match="embedded null"):
                peer.internal_test(*positional)
        else:
            peer.internal_test(*positional, **options)


def test_text_for_bytes_was_refused(tmp_path: Path) -> None:
    """Upstream accepts text: its own bindtests pass it, and g.write("/file", "text") is common."""
    g: Any = guestkit.compat.GuestFS()
    g.internal_test_set_output(str(tmp_path / "received"))
    g.internal_test("", None, [], False, 0, 0, "", "", "\udcff\0é")
    g.internal_test_close_output()
    assert b"<ffffffff><00><ffffffc3><ffffffa9>" in (tmp_path / "received").read_bytes()
    with pytest.raises(TypeError, match="argument 'content' must be"):
        g.write("/file", 1)


def test_every_name_of_upstream_s_module_is_here() -> None:
    imported = {"os", "sys", "libguestfsmod", "List", "Optional", "Tuple", "Union"}
    names = {name for name in vars(PEER) if not name.startswith("_")} - imported
    missing = {name for name in names if not hasattr(guestkit.compat, name)}
    assert missing == set()
    for name in names:
        if name.startswith("EVENT_"):
            assert getattr(guestkit.compat, name) == getattr(PEER, name)


def methods_of_upstream() -> list[str]:
    public = {name for name in vars(PEER.GuestFS) if not name.startswith("_")}
    return sorted(name for name in public if not name.startswith("internal_") or "internal_test" in name)


def parameters(method: Callable[..., object]) -> list[str]:
    """Return the positional parameters: keyword-only ones, such as memoryview, are guestkit's own."""
    given = inspect.signature(method).parameters.values()
    return [parameter.name for parameter in given if parameter.kind != parameter.KEYWORD_ONLY]


def test_every_method_of_upstream_s_class_is_here_with_the_same_parameters() -> None:
    assert len(methods_of_upstream()) > 620
    different = {}
    for name in methods_of_upstream():
        expected = parameters(getattr(PEER.GuestFS, name))
        actual = parameters(getattr(guestkit.compat.GuestFS, name))
        if actual != expected:
            different[name] = (actual, expected)
    assert different == {}


@pytest.mark.parametrize("module", BOTH)
def test_a_closed_handle_raises_closedhandle_also_at_a_second_close(module: ModuleType) -> None:
    g = module.GuestFS()
    g.close()
    for use in (g.get_path, g.close, lambda: g.set_event_callback(print, module.EVENT_ALL)):
        with pytest.raises(module.ClosedHandle) as caught:
            use()
        assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("module", BOTH)
def test_properties_of_the_handle_come_back(module: ModuleType) -> None:
    g = module.GuestFS(environment=False)
    for name, value in (("verbose", 1), ("autosync", 0), ("memsize", 700), ("smp", 2), ("trace", 0)):
        getattr(g, f"set_{name}")(value)
        assert getattr(g, f"get_{name}")() == value
        assert type(getattr(g, f"get_{name}")()) is int
    g.set_verbose(0)
    g.set_path(".")
    assert g.get_path() == "."
    g.set_append(None)
    assert g.get_append() is None
    assert g.get_program() == Path(sys.argv[0]).name


def events(module: ModuleType) -> list[tuple[Any, ...]]:
    seen: list[tuple[Any, ...]] = []
    g = module.GuestFS()
    number = g.set_event_callback(lambda *event: seen.append(event), module.EVENT_ENTER | module.EVENT_TRACE)
    g.set_trace(1)
    g.get_memsize()
    g.set_trace(0)
    g.delete_event_callback(number)
    g.delete_event_callback(number)  # deleting it twice is harmless
    g.get_memsize()
    g.set_event_callback(lambda *event: seen.append(event), module.EVENT_CLOSE)
    g.close()
    return seen


def test_events_are_the_same_arguments_of_the_same_types() -> None:
    expected, actual = events(PEER), events(guestkit.compat)
    assert actual == expected
    assert [list(map(type, event)) for event in actual] == [list(map(type, event)) for event in expected]
    assert len(actual) > 5


@pytest.mark.parametrize(("minor", "kind"), [(48, str), (51, str), (52, bytes), (54, bytes), (60, bytes)])
def test_texts_of_events_were_str_where_upstream_s_are_bytes(
    minor: int, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = {"major": 1, "minor": minor, "release": 1, "extra": ""}
    monkeypatch.setattr(guestkit.compat.GuestFS, "version", lambda self: version)
    texts = [event[2] for event in events(guestkit.compat)]
    assert {type(text) for text in texts} == {kind, type(None)}
    assert ("get_memsize" if kind is str else b"get_memsize") in texts


@pytest.mark.parametrize("mask", [0, 1, 2, 3, 0x3FF, 0x200, 1 << 40])
def test_events_have_upstream_s_names(mask: int) -> None:
    assert guestkit.compat.event_to_string(mask) == PEER.event_to_string(mask)


@pytest.mark.parametrize("module", BOTH)
def test_a_callback_is_let_go_with_its_handle(module: ModuleType) -> None:
    """Upstream's bug 811650: the callback was freed while the handle still used it."""
    g = module.GuestFS()
    seen: list[int] = []
    g.set_event_callback(lambda event, *_: seen.append(event), module.EVENT_CLOSE)
    gc.collect()
    del g
    assert seen == [module.EVENT_CLOSE]


def test_structs_have_upstream_s_columns() -> None:
    columns = set(structs.Application2.__annotations__)
    assert set(RENAMED.values()) <= columns
    assert not set(RENAMED) & columns


# Whole programs, as users write them for libguestfs' own module.

#: By name: the program, its exit status, and the number of its close events.
PROGRAMS = {
    "a handle that is closed": (
        """
g = guestfs.GuestFS(python_return_dict=True)
g.add_drive_opts("/dev/null", format="raw", readonly=1)
g.close()
""",
        0,
        0,
    ),
    "a handle that is left to the interpreter": ("g = guestfs.GuestFS(); watch(g)", 0, 1),
    "a handle that is let go": ("g = guestfs.GuestFS(); watch(g); del g", 0, 1),
    "two handles, of which the older is closed": (
        """
g, h = guestfs.GuestFS(), guestfs.GuestFS()
watch(h)
g.close()
""",
        0,
        1,
    ),
    "many handles, every second closed": (
        """
handles = [guestfs.GuestFS() for _ in range(9)]
for g in handles:
    watch(g)
for g in handles[::2]:
    g.close()
""",
        0,
        9,
    ),
    "a handle whose close event closes another": (
        """
g, h = guestfs.GuestFS(), guestfs.GuestFS()
watch(g)
watch(h)
def end_the_other(*_):
    try:
        h.close()
    except guestfs.ClosedHandle:  # h was closed first
        pass
g.set_event_callback(end_the_other, guestfs.EVENT_CLOSE)
""",
        0,
        2,
    ),
    "an exception at the end": (
        """
g = guestfs.GuestFS()
watch(g)
g.close()
raise SystemExit(3)
""",
        3,
        1,
    ),
    "an exception that nobody catches": (
        """
h, g = guestfs.GuestFS(), guestfs.GuestFS()
watch(h)
g.close()
sys.excepthook = lambda *_: None
raise KeyError
""",
        1,
        1,
    ),
    "sys.exit in a function": (
        """
def main():
    g = guestfs.GuestFS()
    watch(g)
    try:
        sys.exit(4)
    finally:
        g.close()
main()
""",
        4,
        1,
    ),
    "threads with a handle each": (
        """
import threading
def work():
    g = guestfs.GuestFS()
    watch(g)
    g.get_path()
    g.close()
threads = [threading.Thread(target=work) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
""",
        0,
        4,
    ),
    "a child that was forked": (
        """
g = guestfs.GuestFS()
watch(g)
pid = os.fork()
if pid == 0:
    sys.exit(5)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
g.close()
""",
        0,
        1,
    ),
    "a class of its own": (
        """
class Guest(guestfs.GuestFS):
    def __init__(self):
        super().__init__(python_return_dict=True)
        watch(self)
g = Guest()
g.close()
h = Guest()
""",
        0,
        2,
    ),
    "an own exit handler": (
        """
import atexit
g = guestfs.GuestFS()
watch(g)
atexit.register(g.close)
""",
        0,
        1,
    ),
    "a handle that is not to be closed at exit": (
        """
g = guestfs.GuestFS(close_on_exit=False)
g.close()
""",
        0,
        0,
    ),
}

PROLOGUE = """
import os, sys
import guestkit.compat as guestfs
def watch(g):
    g.set_event_callback(lambda *_: os.write(1, b"closed\\n"), guestfs.EVENT_CLOSE)
"""


@pytest.mark.parametrize(("program", "status", "closed"), PROGRAMS.values(), ids=PROGRAMS)
def test_a_program_ended_with_a_traceback_and_without_its_close_events(
    program: str, status: int, closed: int, python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """Regression: closed handles stayed registered to be closed at exit, and refused a second close."""
    done = python(PROLOGUE + program)
    assert (done.returncode, done.stdout, done.stderr) == (status, "closed\n" * closed, "")


def test_one_handle_that_cannot_be_closed_at_exit_costs_no_other_its_end(
    python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    program = """
class Bad(guestfs.GuestFS):
    def close(self):
        raise KeyError("no")
handles = [Bad(), guestfs.GuestFS(), Bad(), guestfs.GuestFS()]
watch(handles[1])
watch(handles[3])
"""
    done = python(PROLOGUE + program)
    assert (done.returncode, done.stdout) == (0, "closed\nclosed\n")
    assert "KeyError: 'no'" in done.stderr
