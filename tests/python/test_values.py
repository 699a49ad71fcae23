"""What actions return: every kind of result as a Python value."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import pytest

from guestkit import Error, Guestfs, structs

if TYPE_CHECKING:
    from tests.python.conftest import Echo

UUID = "12345678901234567890123456789012"  # as long as its C array, so that no NUL follows


def pv(n: int) -> structs.PV:
    """Return the n-th struct that internal_test_rstructlist makes."""
    return {
        "pv_name": f"pv{n}",
        "pv_uuid": UUID,
        "pv_fmt": "unknown",
        "pv_size": n,
        "dev_size": n,
        "pv_free": n,
        "pv_used": n,
        "pv_attr": f"attr{n}",
        "pv_pe_count": n,
        "pv_pe_alloc_count": n,
        "pv_tags": f"tag{n}",
        "pe_start": n,
        "pv_mda_count": n,
        "pv_mda_free": n,
    }


def test_a_call_that_only_can_fail_returns_none(g: Guestfs) -> None:
    set_memsize: Callable[[int], object] = g.set_memsize
    assert set_memsize(1000) is None


@pytest.mark.parametrize("value", [0, 1, -2, 2**31 - 1, -(2**31)])
def test_int(g: Guestfs, value: int) -> None:
    result = g.internal_test_rint(str(value))
    assert result == value
    assert type(result) is int


@pytest.mark.parametrize("value", [0, 1, -2, 2**31, 2**53 + 1, 2**63 - 1, -(2**63)])
def test_int64(g: Guestfs, value: int) -> None:
    result = g.internal_test_rint64(str(value))
    assert result == value
    assert type(result) is int


@pytest.mark.parametrize(("text", "value"), [("true", True), ("false", False)])
def test_bool(g: Guestfs, text: str, value: bool) -> None:
    assert g.internal_test_rbool(text) is value


def test_a_getter_of_a_flag_returns_a_bool(g: Guestfs) -> None:
    for value in (True, False):
        g.set_trace(value)
        assert g.get_trace() is value


@pytest.mark.parametrize("value", ["", "test", "ünïcödé €", "a\nb", "x" * 2**20])
def test_string(g: Guestfs, value: str) -> None:
    result = g.internal_test_rstring(value)
    assert result == value
    assert type(result) is str


def test_const_string(g: Guestfs) -> None:
    # The memory is libguestfs': freeing it would crash a later call.
    for _ in range(10):
        result = g.internal_test_rconststring("ignored")
        assert result == "static string"
        assert type(result) is str


def test_const_string_is_a_copy(g: Guestfs) -> None:
    g.set_path("/first")
    first = g.get_path()
    g.set_path("/second")
    assert (first, g.get_path()) == ("/first", "/second")


def test_const_opt_string(g: Guestfs) -> None:
    for _ in range(10):
        result = g.internal_test_rconstoptstring("ignored")
        assert result == "static string"
        assert type(result) is str


def test_const_opt_string_that_is_absent_is_none_and_no_error(g: Guestfs) -> None:
    assert g.internal_test_rconstoptstringerr() is None


@pytest.mark.parametrize("count", [0, 1, 5, 10000])
def test_string_list(g: Guestfs, count: int) -> None:
    result = g.internal_test_rstringlist(str(count))
    assert result == [str(n) for n in range(count)]
    assert type(result) is list
    assert {type(text) for text in result} <= {str}


@pytest.mark.parametrize("count", [0, 1, 5, 10000])
def test_hashtable(g: Guestfs, count: int) -> None:
    result = g.internal_test_rhashtable(str(count))
    assert result == {str(n): str(n) for n in range(count)}
    assert type(result) is dict
    assert {type(text) for item in result.items() for text in item} <= {str}


def test_hashtable_keeps_the_order_of_libguestfs(g: Guestfs) -> None:
    # As numbers: sorted as text, "10" would come before "2".
    assert list(g.internal_test_rhashtable("1000")) == [str(n) for n in range(1000)]


@pytest.mark.parametrize("value", [b"", b"test", b"01234567890123456789", b"\xff\xfe\x80", b"x" * 2**20])
def test_bufferout(g: Guestfs, value: bytes) -> None:
    result = g.internal_test_rbufferout(value)
    assert result == value
    assert type(result) is bytes


def test_struct(g: Guestfs) -> None:
    result = g.internal_test_rstruct("ignored")
    assert result == pv(0)
    assert type(result) is dict


@pytest.mark.parametrize("count", [0, 1, 5, 10000])
def test_struct_list(g: Guestfs, count: int) -> None:
    result = g.internal_test_rstructlist(str(count))
    assert result == [pv(n) for n in range(count)]
    assert type(result) is list
    assert {type(struct) for struct in result} <= {dict}


def test_struct_is_keyed_by_column_as_its_typed_dict_says(g: Guestfs) -> None:
    for result, described in ((g.internal_test_rstruct(""), structs.PV), (g.version(), structs.Version)):
        types = get_type_hints(described)
        assert list(result) == list(types)
        assert {name: type(value) for name, value in result.items()} == types


def test_each_typed_dict_has_the_columns_of_the_table(api: dict[str, Any]) -> None:
    kinds: dict[str, object] = dict.fromkeys(["string", "device", "uuid", "char"], str)
    kinds |= dict.fromkeys(["bytes", "uint64", "uint32", "int64", "int32"], int)
    kinds |= {"buffer": bytes, "optpercent": float | None}
    public = [struct for struct in api["structs"] if struct["visibility"] == "public"]
    assert len(public) >= 25
    for struct in public:
        described = getattr(structs, struct["camel_name"])
        columns = {column["name"]: kinds[column["type"]] for column in struct["cols"]}
        assert list(get_type_hints(described).items()) == list(columns.items())


def test_a_uuid_column_is_exactly_32_characters(g: Guestfs) -> None:
    for struct in [g.internal_test_rstruct(""), *g.internal_test_rstructlist("3")]:
        assert struct["pv_uuid"] == UUID
        assert len(struct["pv_uuid"]) == 32


def test_a_struct_is_the_callers_own(g: Guestfs) -> None:
    first = g.internal_test_rstruct("")
    first["pv_name"] = "changed"
    assert g.internal_test_rstruct("") == pv(0)


def test_the_version_is_that_of_the_installed_library(g: Guestfs) -> None:
    command = ["pkg-config", "--modversion", "libguestfs"]
    installed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    version = g.version()
    assert f"{version['major']}.{version['minor']}.{version['release']}{version['extra']}" == installed


# ---- names that are not UTF-8

NOT_UTF8 = b"caf\xe9 \xff\x80 \xc3\xa9"


def test_what_is_not_utf8_comes_back_by_surrogateescape(g: Guestfs) -> None:
    result = g.internal_test_rstring(NOT_UTF8)
    assert result == NOT_UTF8.decode("utf-8", "surrogateescape") == "caf\udce9 \udcff\udc80 é"


def test_what_came_back_goes_in_again_unchanged(g: Guestfs, echo: Echo) -> None:
    text = g.internal_test_rstring(NOT_UTF8)
    assert g.internal_test_rstring(text) == text
    received = echo(str=text, optstr=text, strlist=[text], filein=text, ostring=text, ostringlist=[text])
    assert received["str"] == NOT_UTF8
    assert received["optstr"] == NOT_UTF8
    assert received["strlist"] == b'["' + NOT_UTF8 + b'"]'
    assert received["filein"] == NOT_UTF8
    assert received["ostring"] == NOT_UTF8
    assert received["ostringlist"] == b'["' + NOT_UTF8 + b'"]'


def test_a_getter_returns_a_path_that_is_not_utf8(g: Guestfs) -> None:
    g.set_path(b"/\xff")
    assert g.get_path() == "/\udcff"


def test_a_file_whose_name_is_not_utf8(g: Guestfs, tmp_path: Path) -> None:
    name = str(tmp_path) + "/\udcff\udce9"
    g.internal_test_set_output(name)
    g.internal_test_close_output()
    assert [path.name for path in tmp_path.iterdir()] == ["\udcff\udce9"]


def test_an_error_about_a_name_that_is_not_utf8_keeps_it(g: Guestfs) -> None:
    with pytest.raises(Error, match="/nowhere/\udcff: ") as caught:
        g.add_drive_ro("/nowhere/\udcff")
    assert "/nowhere/\udcff" in caught.value.message
