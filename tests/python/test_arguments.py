"""What actions take: every kind of argument and option, and what is refused."""

from __future__ import annotations

import array
import ctypes
import gc
import inspect
import json
import mmap
import os
import pydoc
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from guestkit import Error, Guestfs, HandleClosed, LaunchError

if TYPE_CHECKING:
    from tests.python.conftest import Background, Echo, Hypervisor

SUMMARIES: dict[str, str] = json.loads(
    (Path(__file__).parents[2] / "api" / "summaries.json").read_text(encoding="utf-8")
)

#: The arguments and options of internal_test, by kind.
TEXTS = ["str", "optstr", "filein", "fileout", "ostring"]
LISTS = ["strlist", "ostringlist"]
INTS = {"integer": 31, "oint": 31, "integer64": 63, "oint64": 63}  # bits
BOOLS = ["b", "obool"]


class PathLike:
    """An os.PathLike that is not a pathlib.Path."""

    def __init__(self, path: str | bytes) -> None:
        self.path = path

    def __fspath__(self) -> str | bytes:
        return self.path


class Index:
    """An integer that is not an int."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value


class Text(str):
    __slots__ = ()


class Bytes(bytes):
    __slots__ = ()


class OwnPath(type(Path())):  # type: ignore[misc]  # the way to derive from Path before 3.12
    pass


class Refusing:
    """An object that raises its own exception, whatever is done with it."""

    class Refused(Exception):
        pass

    def __fspath__(self) -> str:
        raise self.Refused

    def __index__(self) -> int:
        raise self.Refused

    def __iter__(self) -> Iterator[str]:
        raise self.Refused


class RefusingInt(int):
    def __bool__(self) -> bool:
        raise Refusing.Refused


def listed(texts: list[bytes]) -> bytes:
    """Return a list in the form that internal_test prints."""
    return b"[" + b", ".join(b'"' + text + b'"' for text in texts) + b"]"


def refused(argument: str, wanted: str) -> AbstractContextManager[object]:
    """Expect the TypeError of internal_test for that argument."""
    message = f"internal_test() argument '{argument}' must be {wanted}, not "
    return pytest.raises(TypeError, match=rf"^{re.escape(message)}[\w.]+$")


TEXT = "str, bytes or os.PathLike"
LIST = f"a list of {TEXT}"
BUFFER = "a contiguous bytes-like object"

# ---- text


@pytest.mark.parametrize("argument", TEXTS)
@pytest.mark.parametrize(
    ("value", "received"),
    [
        ("", b""),
        ("abc", b"abc"),
        ("é€😀", "é€😀".encode()),
        ("\udcff\udce9", b"\xff\xe9"),
        ("é\udcff", "é".encode() + b"\xff"),
        (Text("abc"), b"abc"),
        (b"", b""),
        (b"abc", b"abc"),
        (b"\xff\xe9", b"\xff\xe9"),
        (Bytes(b"abc"), b"abc"),
        (Path("/tmp/é"), "/tmp/é".encode()),
        (Path("/tmp/\udcff"), b"/tmp/\xff"),
        (OwnPath("/tmp/x"), b"/tmp/x"),
        (PathLike("a\udcff"), b"a\xff"),
        (PathLike(b"a\xff"), b"a\xff"),
        ("x" * 100_000, b"x" * 100_000),
    ],
    ids=lambda value: f"{type(value).__name__}-{ascii(value)[:20]}",
)
def test_text_is_str_bytes_or_path(echo: Echo, argument: str, value: Any, received: bytes) -> None:
    assert echo(**{argument: value})[argument] == received


def test_a_directory_entry_is_text(echo: Echo, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with os.scandir(tmp_path) as entries:
        (entry,) = (entry for entry in entries if entry.name == "file")
    assert echo(filein=entry)["filein"] == os.fsencode(entry)


@pytest.mark.parametrize("argument", TEXTS)
@pytest.mark.parametrize(
    "value", [1, 1.0, object(), [], ["a"], bytearray(b"a"), memoryview(b"a"), Text, Path]
)
def test_text_is_nothing_else(g: Guestfs, argument: str, value: object) -> None:
    with refused(argument, TEXT):
        Empty(g)(**{argument: value})


@pytest.mark.parametrize("argument", ["str", "filein", "fileout"])
def test_none_is_no_text(g: Guestfs, argument: str) -> None:
    with refused(argument, TEXT):
        Empty(g)(**{argument: None})


def test_none_is_an_absent_opt_string(echo: Echo) -> None:
    assert echo(optstr=None)["optstr"] == b"null"
    assert echo(optstr="")["optstr"] == b""


@pytest.mark.parametrize("argument", TEXTS)
@pytest.mark.parametrize("value", ["a\0b", "\0", b"a\0b", PathLike("a\0"), PathLike(b"\0a"), "\udcff\0"])
def test_a_nul_in_a_text_is_refused(g: Guestfs, argument: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^internal_test\(\) argument '{argument}' holds a NUL character$"):
        Empty(g)(**{argument: value})


@pytest.mark.parametrize("argument", TEXTS)
@pytest.mark.parametrize("value", ["\ud800", "a\udc7f", "bc\udfff"])
def test_a_surrogate_that_stands_for_no_byte_is_refused(g: Guestfs, argument: str, value: str) -> None:
    with pytest.raises(ValueError, match="surrogates not allowed"):
        Empty(g)(**{argument: value})


# ---- lists


@pytest.mark.parametrize("argument", LISTS)
@pytest.mark.parametrize(
    "value",
    [
        ["1", b"2", PathLike("3"), PathLike(b"4"), Path("5")],
        ("1", "2", "3", "4", "5"),
        {"1": None, "2": None, "3": None, "4": None, "5": None},
        map(str, range(1, 6)),
        iter(["1", "2", "3", "4", "5"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_list_is_any_iterable_of_texts(echo: Echo, argument: str, value: Any) -> None:
    if isinstance(value, map):  # several tests share the parameter, and an iterator serves only once
        value = map(str, range(1, 6))
    elif not isinstance(value, list | tuple | dict):
        value = (text for text in ["1", "2", "3", "4", "5"])
    assert echo(**{argument: value})[argument] == listed([b"1", b"2", b"3", b"4", b"5"])


@pytest.mark.parametrize("argument", LISTS)
def test_a_list_may_be_a_set(echo: Echo, argument: str) -> None:
    received = echo(**{argument: {"a", "b", "c"}})[argument]
    assert sorted(received.strip(b"[]").split(b", ")) == [b'"a"', b'"b"', b'"c"']


@pytest.mark.parametrize("argument", LISTS)
@pytest.mark.parametrize("count", [0, 1, 10_000])
def test_a_list_is_of_any_length(echo: Echo, argument: str, count: int) -> None:
    texts = [b"%d" % n for n in range(count)]
    assert echo(**{argument: texts})[argument] == listed(texts)


@pytest.mark.parametrize("argument", LISTS)
@pytest.mark.parametrize("value", ["abc", b"abc", Path("abc"), Text("abc"), 1, object(), bytearray([1]), [1]])
def test_a_list_is_not_one_text_and_nothing_else(g: Guestfs, argument: str, value: object) -> None:
    with refused(argument, TEXT if value in ([1], bytearray([1])) else LIST):
        Empty(g)(**{argument: value})


@pytest.mark.parametrize("argument", LISTS)
@pytest.mark.parametrize("item", [None, 1, ["a"], object()])
def test_each_text_of_a_list_is_checked(g: Guestfs, argument: str, item: object) -> None:
    with refused(argument, TEXT):
        Empty(g)(**{argument: ["first", item, "last"]})


@pytest.mark.parametrize("argument", LISTS)
def test_a_nul_in_a_text_of_a_list_is_refused(g: Guestfs, argument: str) -> None:
    with pytest.raises(ValueError, match=f"'{argument}' holds a NUL"):
        Empty(g)(**{argument: ["first", "a\0b"]})


def test_none_is_no_list(g: Guestfs) -> None:
    with refused("strlist", LIST):
        Empty(g)(strlist=None)


@pytest.mark.parametrize("given", [list, iter], ids=["list", "iterator"])
def test_what_was_read_was_not_to_be_found_by_the_path_that_was_given(g: Guestfs, given: Any) -> None:
    paths = ["/b", b"/\xff", Path("/a"), PathLike(b"/c"), "/d\udcff"]
    found = g.read_files(given(paths))  # an Error for each: no appliance runs
    assert list(found) == [paths[2], paths[0], paths[3], paths[4], paths[1]]
    assert {type(error) for error in found.values()} == {Error}
    with pytest.raises(TypeError, match="read_files.. argument 'paths' must be a list"):
        g.read_files("/etc/hosts")


@pytest.mark.parametrize("argument", LISTS)
def test_what_an_iterator_raises_is_passed_on(g: Guestfs, argument: str) -> None:
    def texts() -> Iterator[str]:
        yield "first"
        raise Refusing.Refused

    with pytest.raises(Refusing.Refused):
        Empty(g)(**{argument: texts()})


# ---- numbers and flags


@pytest.mark.parametrize(("argument", "bits"), INTS.items())
def test_an_int_reaches_its_limits(echo: Echo, argument: str, bits: int) -> None:
    for value in (0, 1, -1, 2**bits - 1, -(2**bits)):
        assert echo(**{argument: value})[argument] == b"%d" % value
        assert echo(**{argument: Index(value)})[argument] == b"%d" % value


@pytest.mark.parametrize(("argument", "bits"), INTS.items())
def test_an_int_beyond_its_limits_is_refused(g: Guestfs, argument: str, bits: int) -> None:
    limits = f"must be between {-(2**bits)} and {2**bits - 1}"
    for value in (2**bits, -(2**bits) - 1, 2**64, 2**200, -(2**200), Index(2**bits)):
        with pytest.raises(OverflowError, match=rf"^internal_test\(\) argument '{argument}' {limits}$"):
            Empty(g)(**{argument: value})


@pytest.mark.parametrize("argument", INTS)
@pytest.mark.parametrize("value", [1.0, "1", b"1", object(), [], 1j])
def test_an_int_is_nothing_else(g: Guestfs, argument: str, value: object) -> None:
    with refused(argument, "int"):
        Empty(g)(**{argument: value})


@pytest.mark.parametrize("argument", BOOLS)
def test_a_flag_is_a_bool_or_an_int(echo: Echo, argument: str) -> None:
    # ints, too, since upstream's binding accepts them.
    for value in (True, 1, -1, 2, 2**100):
        assert echo(**{argument: value})[argument] == b"true"
    for value in (False, 0):
        assert echo(**{argument: value})[argument] == b"false"


@pytest.mark.parametrize("argument", BOOLS)
@pytest.mark.parametrize("value", ["true", "", b"", 1.0, object(), []])
def test_a_flag_is_nothing_else(g: Guestfs, argument: str, value: object) -> None:
    with refused(argument, "bool"):
        Empty(g)(**{argument: value})


@pytest.mark.parametrize(
    ("argument", "wanted"), [("b", "bool"), ("integer", "int"), ("integer64", "int"), ("bufferin", BUFFER)]
)
def test_none_is_no_value(g: Guestfs, argument: str, wanted: str) -> None:
    with refused(argument, wanted):
        Empty(g)(**{argument: None})


@pytest.mark.parametrize("argument", [*TEXTS, *LISTS, *INTS, *BOOLS])
def test_what_an_argument_raises_is_passed_on(g: Guestfs, argument: str) -> None:
    with pytest.raises(Refusing.Refused):
        Empty(g)(**{argument: RefusingInt() if argument in BOOLS else Refusing()})


@pytest.mark.parametrize("argument", LISTS)
def test_what_an_item_of_a_list_raises_is_passed_on(g: Guestfs, argument: str) -> None:
    with pytest.raises(Refusing.Refused):
        Empty(g)(**{argument: ["first", Refusing()]})


def test_a_path_that_gives_no_text_is_refused(g: Guestfs) -> None:
    path: Any = PathLike(1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="__fspath__"):
        Empty(g)(str=path)


# ---- buffers

EVERY_BYTE = bytes(range(256))


def dumped(data: bytes) -> bytes:
    """Return a buffer in the form that internal_test prints: C's char is signed."""
    return b"".join(b"<%02x>" % (byte if byte < 128 else byte | 0xFFFFFF00) for byte in data)


def mapped(data: bytes) -> mmap.mmap:
    mapping = mmap.mmap(-1, len(data))
    mapping[:] = data
    return mapping


@pytest.mark.parametrize(
    "make",
    [
        bytes,
        bytearray,
        memoryview,
        mapped,
        lambda data: array.array("B", data),
        lambda data: memoryview(bytearray(data)),
        lambda data: memoryview(b"x" + data + b"x")[1:-1],
        lambda data: (ctypes.c_char * len(data)).from_buffer_copy(data),
    ],
    ids=["bytes", "bytearray", "memoryview", "mmap", "array", "writable view", "part of a view", "ctypes"],
)
def test_a_buffer_is_any_contiguous_buffer(echo: Echo, make: Callable[[bytes], Any]) -> None:
    assert echo(bufferin=make(EVERY_BYTE))["bufferin"] == dumped(EVERY_BYTE)


def test_a_buffer_of_larger_items_is_its_memory(echo: Echo) -> None:
    numbers = array.array("i", [1, -2, 3])
    assert echo(bufferin=numbers)["bufferin"] == dumped(numbers.tobytes())


@pytest.mark.parametrize("size", [0, 1, 1 << 20])
def test_a_buffer_is_of_any_size(echo: Echo, size: int) -> None:
    assert echo(bufferin=b"\0" * size)["bufferin"] == b"<00>" * size


@pytest.mark.parametrize("value", ["abc", 1, object(), [1], memoryview(b"abcd")[::2], Path("a")])
def test_a_buffer_is_nothing_else(g: Guestfs, value: object) -> None:
    with refused("bufferin", BUFFER):
        Empty(g)(bufferin=value)


def test_a_buffer_that_is_closed_is_refused_by_its_own_exception(g: Guestfs) -> None:
    mapping = mapped(b"abc")
    mapping.close()
    with pytest.raises(ValueError, match="closed"):
        Empty(g)(bufferin=mapping)


# ---- the lifetime of arguments


@pytest.mark.blocking_handle
def test_arguments_are_let_go(g: Guestfs, echo: Echo) -> None:
    buffer = bytearray(b"abc")
    text, path, texts = "text" * 10, b"path" * 10, ["item" * 10]
    kept = [buffer, text, path, texts, texts[0]]

    def references() -> list[int]:
        return [sys.getrefcount(thing) for thing in kept]

    before = references()
    for _ in range(100):
        echo(str=text, filein=path, strlist=texts, bufferin=buffer, ostring=text, ostringlist=texts)
        with pytest.raises(TypeError):
            Empty(g)(str=text, filein=path, strlist=texts, bufferin=buffer, ostring=text, ostringlist=1)
        gc.collect(0)
    assert references() == before
    buffer.extend(b"def")  # raises while a view of it exists


@pytest.mark.blocking_handle
def test_arguments_may_change_during_the_call(
    g: Guestfs,
    echo: Echo,
    hypervisor: Hypervisor,
    background: Callable[[Callable[[], object]], Background[Any]],
) -> None:
    """While the call waits for the handle, which is launching, its arguments are changed."""
    strlist = [f"strlist {n}" for n in range(1000)]
    ostringlist: list[Any] = [f"ostringlist {n}" for n in range(1000)]
    buffer = bytearray(b"buffer")
    expected = listed([text.encode() for text in strlist]), listed([text.encode() for text in ostringlist])
    converted = threading.Event()

    class Last:
        def __fspath__(self) -> str:
            converted.set()  # the last argument, so the others have been converted
            return "last"

    ostringlist.append(Last())
    g.internal_test_set_output(echo._path)
    launch = hypervisor.launch(g)
    call = background(
        lambda: Empty(g)(str="".join(["t", "ext"]), strlist=strlist, bufferin=buffer, ostringlist=ostringlist)
    )
    assert converted.wait(20)
    strlist.clear()
    ostringlist.clear()
    with pytest.raises(BufferError):
        buffer.clear()
    buffer[:] = b"BUFFER"  # at the caller's own risk, but it must not crash
    gc.collect()
    overwrite = [f"garbage {n}" for n in range(10_000)]
    assert launch.running
    assert call.running
    hypervisor.release()
    with pytest.raises(LaunchError):
        launch.result()
    call.result()
    g.internal_test_close_output()
    received = echo.lines()
    assert received["str"] == b"text"
    assert received["strlist"] == expected[0]
    assert received["ostringlist"] == expected[1][:-1] + b', "last"]'
    assert received["bufferin"] == dumped(b"BUFFER")
    assert len(overwrite) == 10_000
    buffer.clear()


# ---- how arguments are given


class Empty:
    """internal_test with these arguments, the others empty; typed to accept wrong ones."""

    def __init__(self, handle: Guestfs) -> None:
        self._call: Any = handle.internal_test

    def __call__(self, **given: object) -> object:
        empty: dict[str, object] = {
            "str": "", "optstr": None, "strlist": [], "b": False, "integer": 0, "integer64": 0,
            "filein": "", "fileout": "", "bufferin": b"",
        }  # fmt: skip
        return self._call(**empty | given)


REQUIRED: list[Any] = ["s", "o", ["l"], True, 1, 2, "i", "f", b"b"]
OPTIONS: list[Any] = [True, 3, 4, "os", ["ol"]]
RECEIVED = [b"s", b"o", b'["l"]', b"true", b"1", b"2", b"i", b"f", b"<62>"]
RECEIVED_OPTIONS = [b"true", b"3", b"4", b"os", b'["ol"]']
UNSET = [b"unset"] * 5


def test_arguments_by_position(echo: Echo) -> None:
    assert list(echo(*REQUIRED).values()) == RECEIVED + UNSET


@pytest.mark.parametrize("count", range(1, 6))
def test_options_by_position_in_the_order_of_libguestfs(echo: Echo, count: int) -> None:
    received = list(echo(*REQUIRED, *OPTIONS[:count]).values())
    assert received == RECEIVED + RECEIVED_OPTIONS[:count] + UNSET[count:]


def test_arguments_by_name_in_any_order(echo: Echo) -> None:
    names = list(inspect.signature(Guestfs.internal_test).parameters)[1:]
    given = dict(reversed(list(zip(names, [*REQUIRED, *OPTIONS], strict=True))))
    assert list(echo(**given).values()) == RECEIVED + RECEIVED_OPTIONS


def test_a_name_that_is_not_interned_is_known_too(echo: Echo) -> None:
    name = "".join(["o", "int"])
    assert echo(**{name: 5})["oint"] == b"5"


def test_none_for_an_option_is_an_absent_option(echo: Echo) -> None:
    options: dict[str, Any] = dict.fromkeys(["obool", "oint", "oint64", "ostring", "ostringlist"])
    assert list(echo(*REQUIRED, **options).values()) == RECEIVED + UNSET
    assert list(echo(*REQUIRED, *[None] * 5).values()) == RECEIVED + UNSET
    assert list(echo(*REQUIRED, None, 3, ostring="os").values())[9:] == [
        b"unset", b"3", b"unset", b"os", b"unset",
    ]  # fmt: skip


def test_an_empty_option_is_not_an_absent_one(echo: Echo) -> None:
    received = echo(obool=False, oint=0, oint64=0, ostring="", ostringlist=[])
    assert list(received.values())[9:] == [b"false", b"0", b"0", b"", b"[]"]


def test_63_options_reach_their_own_places(capfd: pytest.CaptureFixture[str], g: Guestfs) -> None:
    # This test action of libguestfs can only write to stdout.
    names = [f"opt{n}" for n in range(1, 64)]
    odd: dict[str, int] = {name: 100 + n for n, name in enumerate(names) if n % 2 == 0}
    g.internal_test_63_optargs(**odd)
    assert capfd.readouterr().out.splitlines() == [f"{name}: {odd.get(name, 'unset')}" for name in names]
    everything: Any = g.internal_test_63_optargs
    everything(*range(63))
    assert capfd.readouterr().out.splitlines() == [f"{name}: {n}" for n, name in enumerate(names)]


def test_the_first_wrong_argument_is_the_one_that_is_named(g: Guestfs) -> None:
    with pytest.raises(TypeError, match="'integer' must be int"):
        Empty(g)(integer="1", filein=1, oint="1")


def test_an_unknown_keyword_is_refused(g: Guestfs) -> None:
    call: Any = g.internal_test
    for name in ("unknown", "", "oin", "oint ", "OINT", "self", "é"):
        with pytest.raises(TypeError, match=rf"^internal_test\(\) got an unexpected keyword .* '{name}'$"):
            call(*REQUIRED, **{name: 1})


def test_a_missing_argument_is_named(g: Guestfs) -> None:
    call: Any = g.internal_test
    names = list(inspect.signature(Guestfs.internal_test).parameters)[1:10]
    for missing in names:
        given = {name: value for name, value in zip(names, REQUIRED, strict=True) if name != missing}
        with pytest.raises(TypeError, match=rf"^internal_test\(\) missing required argument '{missing}'$"):
            call(**given)
    for count, missing in enumerate(names):
        with pytest.raises(TypeError, match=rf"^internal_test\(\) missing required argument '{missing}'$"):
            call(*REQUIRED[:count])


def test_an_argument_that_is_given_twice_is_named(g: Guestfs) -> None:
    call: Any = g.internal_test
    for name in ("str", "bufferin"):
        with pytest.raises(
            TypeError, match=rf"^internal_test\(\) got multiple values for argument '{name}'$"
        ):
            call(*REQUIRED, **{name: "again"})
    with pytest.raises(TypeError, match=r"^internal_test\(\) got multiple values for argument 'obool'$"):
        call(*REQUIRED, True, obool=None)


def test_too_many_arguments_are_counted(g: Guestfs) -> None:
    call: Any = g.internal_test
    with pytest.raises(TypeError, match=r"^internal_test\(\) takes at most 14 arguments \(15 given\)$"):
        call(*REQUIRED, *OPTIONS, None)
    none: Any = g.version
    with pytest.raises(TypeError, match=r"^version\(\) takes at most 0 arguments \(1 given\)$"):
        none(1)


def test_a_call_on_something_else_is_refused() -> None:
    method: Any = Guestfs.version
    with pytest.raises(TypeError, match="version"):
        method(object())
    with pytest.raises(TypeError, match="version"):
        method()


# ---- pointers

make_capsule = ctypes.pythonapi.PyCapsule_New
make_capsule.restype = ctypes.py_object
make_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]


@pytest.mark.parametrize("value", [None, 1, "a", object(), type("Fake", (), {"_o": 1})()])
def test_a_domain_is_one_of_libvirt(g: Guestfs, value: Any) -> None:
    with pytest.raises(TypeError, match=r"^add_libvirt_dom\(\) argument 'dom' must be a libvirt\.virDomain"):
        g.add_libvirt_dom(value)


def test_a_capsule_of_something_else_is_no_domain(closed: Guestfs) -> None:
    # On a closed handle, so that the pointer is not followed even if it is accepted.
    for name in (None, b"something else"):
        capsule = make_capsule(16, name, None)
        for value in (capsule, type("Fake", (), {"_o": capsule})()):
            with pytest.raises(TypeError, match=r"argument 'dom' must be a libvirt\.virDomain"):
                closed.add_libvirt_dom(value)


# ---- every method

DOMAIN_NAME = ctypes.create_string_buffer(b"virDomainPtr")  # the capsule keeps a pointer to it
DOMAIN = make_capsule(16, ctypes.cast(DOMAIN_NAME, ctypes.c_char_p), None)

RIGHT: dict[str, Any] = {
    "string": "x",
    "opt_string": "x",
    "string_list": ["x"],
    "buffer_in": b"x",
    "bool": True,
    "int": 1,
    "int64": 1,
    "pointer": DOMAIN,
}
WRONG: dict[str, list[Any]] = {
    "string": [object(), 1, ["x"]],
    "opt_string": [object(), 1, ["x"]],
    "string_list": [object(), 1, "x", b"x", [object()], [None]],
    "buffer_in": [object(), 1, "x"],
    "bool": [object(), "x", 1.0],
    "int": [object(), "x", 1.0],
    "int64": [object(), "x", 1.0],
    "pointer": [object(), 1, "x"],
}


@pytest.fixture(scope="module")
def closed() -> Guestfs:
    """A closed handle: every call on it converts its arguments, then fails."""
    handle = Guestfs(environment=False)
    handle.close()
    return handle


def right_arguments(action: dict[str, Any]) -> dict[str, Any]:
    return {argument["name"]: RIGHT[argument["type"]] for argument in action["args"]}


def test_wrong_types_for_every_argument_are_refused_by_name(closed: Guestfs, action: dict[str, Any]) -> None:
    method = getattr(closed, action["name"])
    right = right_arguments(action)
    optional = {option["name"] for option in action["optargs"]}
    for argument in [*action["args"], *action["optargs"]]:
        name, kind = argument["name"], argument["type"]
        none = [] if name in optional or kind == "opt_string" else [None]
        for wrong in WRONG[kind] + none:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                with pytest.raises(TypeError, match=rf"^{action['name']}\(\) argument '{name}' must be "):
                    method(**right | {name: wrong})


def test_right_types_for_every_argument_are_taken(closed: Guestfs, action: dict[str, Any]) -> None:
    method = getattr(closed, action["name"])
    right = right_arguments(action)
    options = {option["name"]: RIGHT[option["type"]] for option in action["optargs"]}
    values = [*right.values(), *options.values()]
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for positional, named in ((values, {}), ([], right | options), ([*right.values()], {})):
            with pytest.raises(HandleClosed) as caught:
                method(*positional, **named)
            assert caught.value.op == action["name"]
    kinds = [warning.category for warning in warned]
    assert kinds == ([DeprecationWarning] * 3 if action["deprecated"] else [])


def test_the_signature_is_that_of_the_table(action: dict[str, Any]) -> None:
    signature = inspect.signature(getattr(Guestfs, action["name"]))
    parameter = inspect.Parameter
    expected = [parameter("self", parameter.POSITIONAL_ONLY)]
    expected += [parameter(a["name"], parameter.POSITIONAL_OR_KEYWORD) for a in action["args"]]
    expected += [
        parameter(option["name"], parameter.POSITIONAL_OR_KEYWORD, default=None)
        for option in action["optargs"]
    ]
    if action["ret"]["kind"] == "bufferout":
        expected.append(parameter("memoryview", parameter.KEYWORD_ONLY, default=False))
    assert list(signature.parameters.values()) == expected


def test_help_tells_what_the_method_does(action: dict[str, Any]) -> None:
    method = getattr(Guestfs, action["name"])
    summary = SUMMARIES[action["name"]].replace("{none}", "None")
    assert method.__name__ == action["name"]
    assert (inspect.getdoc(method) or "").splitlines()[0] == summary
    text = pydoc.plain(pydoc.render_doc(method))
    assert summary in text
    assert f"guestfs_{action['c_name']}(3)" in text
    for argument in [*action["args"], *action["optargs"]]:
        assert re.search(rf"^\s*{argument['name']}: \w", text, re.MULTILINE)
    if action["deprecated"]:
        assert "Deprecated: " in text


def test_a_deprecated_call_warns_in_its_callers_line(
    closed: Guestfs, deprecated_action: dict[str, Any]
) -> None:
    method = getattr(closed, deprecated_action["name"])
    right = right_arguments(deprecated_action)
    replacement = deprecated_action["deprecated_by"]
    advice = f"use {replacement}" if replacement else "there is no replacement"
    expected = rf"^{deprecated_action['name']}\(\) is deprecated: {advice}$"

    def call() -> None:
        method(**right)

    with pytest.raises(HandleClosed), pytest.warns(DeprecationWarning, match=expected) as warned:
        call()
    (warning,) = warned
    assert (warning.filename, warning.lineno) == (__file__, call.__code__.co_firstlineno + 1)


def test_a_deprecation_can_be_made_an_error(g: Guestfs) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DeprecationWarning):
            g.set_qemu("/nowhere")
    assert g.get_hv() != "/nowhere"
