"""The readers of rpm's databases find what SQLite and rpm's formats have, whatever the size of the pages."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.images import rpm

HERE = Path(__file__).resolve().parent
INCLUDE = HERE.parents[1] / "include"
LARGE = rpm.package("large", "1", summary="long", description="y" * 20_000, padding=3_000_000)
HEADERS = [*rpm.packages(), LARGE, rpm.package("utf", "1", summary="ü’x", description="\udcff no UTF-8")]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("rpm") / "list_packages"
    words = ["c++", "-std=c++20", "-O1", f"-I{INCLUDE}", str(HERE / "list_packages.cpp"), "-lguestfs"]
    subprocess.run([*words, "-o", str(program)], check=True)
    return program


def listed(reader: Path, folder: Path, format: str, database: bytes, log: bytes = b"") -> list[list[str]]:
    """Return the values of each package. Nothing may be left out."""
    (folder / "database").write_bytes(database)
    (folder / "log").write_bytes(log)
    files = [folder / "database", *([folder / "log"] if log else [])]
    done = subprocess.run([reader, format, *files], capture_output=True, check=True)
    assert not done.stderr
    values = done.stdout.decode(errors="surrogateescape").split("\0")[:-1]
    return [values[at : at + 10] for at in range(0, len(values), 10)]


@pytest.fixture(scope="module")
def expected(reader: Path, tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """Read the packages one by one; return them in the order that libguestfs gives them."""
    folder = tmp_path_factory.mktemp("packages")
    packages = [listed(reader, folder, "n", rpm.ndb([header]))[0] for header in reversed(HEADERS)]
    return sorted(packages, key=lambda values: values[0].encode(errors="surrogateescape"))


def test_the_values_are_those_that_were_written(expected: list[list[str]]) -> None:
    by_name = {values[0]: values[1:] for values in expected}
    none = "(none)"
    assert by_name["zlib"] == ["1", "1.2", "1", "x86_64", none, "the C one", none, "Zlib Makers", "Zlib"]
    assert by_name["bare"] == ["0", "1", "1", none, none, none, none, "", "none"]
    assert by_name["epoch"][0] == str(5 - 2**31)
    assert by_name["large"][-3] == "y" * 20_000
    assert by_name["utf"][-4:-2] == ["ü’x", "\udcff no UTF-8"]
    assert [values[2] for values in expected if values[0] == "gpg-pubkey"] == ["5a6340b3", "fd431d51"]


@pytest.mark.parametrize("wal", [False, True])
@pytest.mark.parametrize("page_size", [512, 1024, 4096, 65536])
def test_sqlite(page_size: int, wal: bool, reader: Path, tmp_path: Path, expected: list[list[str]]) -> None:
    database = rpm.sqlite(HEADERS, page_size=page_size, wal=wal)
    assert listed(reader, tmp_path, "s", database) == expected


@pytest.mark.parametrize("page_size", [512, 4096])
def test_a_log_of_sqlite(page_size: int, reader: Path, tmp_path: Path, expected: list[list[str]]) -> None:
    database = rpm.sqlite(HEADERS[:20], page_size=page_size)
    log = rpm.logged(database, HEADERS[20:])
    assert len(listed(reader, tmp_path, "s", database)) == 20
    assert listed(reader, tmp_path, "s", database, log) == expected


def test_ndb(reader: Path, tmp_path: Path, expected: list[list[str]]) -> None:
    assert listed(reader, tmp_path, "n", rpm.ndb(HEADERS)) == expected


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("buckets", [1, 2, 16])
@pytest.mark.parametrize("page_size", [512, 4096, 65536])
def test_bdb(
    page_size: int, buckets: int, order: str, reader: Path, tmp_path: Path, expected: list[list[str]]
) -> None:
    database = rpm.bdb(HEADERS, page_size=page_size, buckets=buckets, order=order)
    # The order of one name's packages is that of the hash.
    assert sorted(listed(reader, tmp_path, "b", database)) == sorted(expected)
