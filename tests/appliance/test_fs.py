"""A hostile guest through fsspec, read-only: one appliance for most of it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import gc
import io
import logging
import os
import pickle
import select
import signal
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask.bag
import fsspec  # type: ignore[import-untyped]
import pytest
from fsspec.asyn import sync  # type: ignore[import-untyped]
from fsspec.callbacks import Callback  # type: ignore[import-untyped]
from upath import UPath

from guestkit import (
    ApplianceCrashed,
    AsyncGuestfs,
    Error,
    Event,
    Guestfs,
    set_appliance_limit,
)
from guestkit.fs import GuestFileSystem
from guestkit.guest import mount_guest
from tests.images import hostile
from tests.images.corpus import ROOT_UUID, Part, _make
from tests.images.trees import Fifo, File, Link

#: Seconds; only something that hangs takes longer.
PATIENCE = 60

LARGE = bytes(range(256)) * (20 << 10)  # 5 MB, more than two messages


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("inside.txt", "from an archive in a guest")
    return file.getvalue()


EXTRA: dict[str, File] = {
    "data/fifo": Fifo(),
    "data/to-fifo": Link("fifo"),
    "data/nowhere": Link("/no/such/file"),
    "data/circle": Link("circle"),
    "data/to-directory": Link("/usr/bin"),
    "data/large": LARGE,
    "data/letters": b"abcdefghij",
    "data/lines.txt": "one\ntwo\nthree ü\n",
    "data/archive.zip": zipped(),
    "data/many": None,
    **{f"data/many/{number:03}": b"" for number in range(500)},
    **{f"data/tree/{number}/{number}.csv": f"{number}\n" for number in range(5)},
}


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fs") / "disk.img"
    _make([Part({**hostile.tree(), **EXTRA}, uuid=ROOT_UUID, size=48 << 20)], path)
    return path


@pytest.fixture(scope="module")
def fs(disk: Path) -> Iterator[GuestFileSystem]:
    with GuestFileSystem(disk) as filesystem:
        yield filesystem


def fails(kind: type[OSError], number: int, path: str) -> pytest.RaisesExc[OSError]:
    def check(error: OSError) -> bool:
        return type(error) is kind and error.errno == number and error.filename == path

    return pytest.RaisesExc(kind, check=check)


# ---- URLs, instances


def test_a_chained_url_and_the_direct_form_are_one_filesystem(fs: GuestFileSystem, disk: Path) -> None:
    with fsspec.open(f"guestkit:///etc/hosts::file://{disk}", "rt") as file:
        assert file.read() == "127.0.0.1 localhost\n"
    url = f"guestkit:///etc/../data//*.txt::{disk}"
    (opened,) = fsspec.open_files(url)
    assert opened.path == "/data/lines.txt"
    assert opened.fs is fsspec.filesystem("guestkit", fo=f"file://{disk}")
    assert opened.full_name == "guestkit:///data/lines.txt"


def test_other_tools_read_through_it(disk: Path, fs: GuestFileSystem) -> None:
    with fsspec.open(f"zip://inside.txt::guestkit:///data/archive.zip::file://{disk}") as file:
        assert file.read() == b"from an archive in a guest"
    rows = dask.bag.read_text(  # type: ignore[no-untyped-call]
        f"guestkit:///data/tree/*/*.csv::file://{disk}"
    )
    assert rows.map(int).sum().compute(scheduler="synchronous") == 10
    assert fs.get_mapper("/data/tree/3")["3.csv"] == b"3\n"
    below = fsspec.filesystem("dir", path="/data/tree", fs=fs)
    assert below.ls("1", detail=False) == ["1/1.csv"]


@pytest.mark.filterwarnings("ignore:UPath 'guestkit' filesystem not explicitly implemented:UserWarning")
def test_paths_of_universal_pathlib(disk: Path, fs: GuestFileSystem) -> None:
    for tree in (UPath("guestkit:///data/tree", fo=disk), UPath(f"guestkit:///data/tree::file://{disk}")):
        assert [path.name for path in tree.iterdir()] == ["0", "1", "2", "3", "4"]
        assert (tree / "3" / "3.csv").read_text() == "3\n"
        assert (tree / "3").is_dir()
        assert not (tree / "nope").exists()
        assert (tree / "4" / "4.csv").stat().st_size == 2
        assert sorted(path.name for path in tree.glob("*/*.csv")) == [f"{number}.csv" for number in range(5)]


# ---- looking


def test_hostile_names_are_found_as_they_are(fs: GuestFileSystem) -> None:
    names = {f"/{name}" for name in hostile.FILES}
    assert set(fs.find("/srv")) == names
    assert {entry["name"] for entry in fs.ls("/srv")} == {name for name in names if name.count("/") == 2} | {
        "/srv/directory"
    }
    for name in names:
        assert fs.lexists(name)
    assert fs.cat("/srv/\udcff\u202e.txt") == hostile.FILES["srv/\udcff\u202e.txt"]
    assert fs.cat_file(b"/srv/\xff\xe2\x80\xae.txt") == hostile.FILES["srv/\udcff\u202e.txt"]
    assert fs.cat_file(f"/srv/{hostile._NAME}") == b"content\n"


def test_info_tells_what_stat_does(fs: GuestFileSystem) -> None:
    fs.invalidate_cache()
    alone = fs.info("/data/letters")
    assert {key: alone[key] for key in ("name", "size", "type", "islink")} == {
        "name": "/data/letters",
        "size": 10,
        "type": "file",
        "islink": False,
    }
    assert stat.S_ISREG(alone["mode"])
    assert fs.modified("/data/letters").timestamp() == alone["mtime"]
    (listed,) = [entry for entry in fs.ls("/data") if entry["name"] == "/data/letters"]
    assert listed == alone
    assert fs.ls("/data/letters") == [alone]
    assert fs.ls("/data/letters", detail=False) == ["/data/letters"]
    assert fs.info("/")["type"] == "directory"
    assert fs.info("/data/fifo")["type"] == "other"


def test_symlinks_are_followed_in_the_guest(fs: GuestFileSystem) -> None:
    out = fs.info("/srv/out")
    assert (out["type"], out["islink"], out["destination"]) == (
        "file",
        True,
        "../../../../../../../../etc/passwd",
    )
    assert fs.cat("/srv/out") == fs.cat("/etc/passwd") != Path("/etc/passwd").read_bytes()
    assert fs.isdir("/data/to-directory")
    assert fs.ls("/data/to-directory", detail=False) == [
        "/data/to-directory/bash", "/data/to-directory/ls", "/data/to-directory/sh"
    ]  # fmt: skip
    (listed,) = [entry for entry in fs.ls("/data") if entry["name"] == "/data/to-directory"]
    assert (listed["type"], listed["destination"]) == ("link", "/usr/bin")
    assert not [path for path in fs.find("/data") if path.startswith("/data/to-directory/")]
    with fails(FileNotFoundError, errno.ENOENT, "/data/nowhere"):
        fs.cat_file("/data/nowhere")
    assert fs.lexists("/data/nowhere")
    assert not fs.exists("/data/nowhere")
    assert not fs.exists("/data/circle")
    with fails(OSError, errno.ELOOP, "/data/circle"):
        fs.info("/data/circle")


def test_a_tree_is_walked_both_ways_and_can_be_pruned(fs: GuestFileSystem) -> None:
    down = list(fs.walk("/data/tree"))
    assert down[0] == ("/data/tree", ["0", "1", "2", "3", "4"], [])
    assert down[1:] == [(f"/data/tree/{number}", [], [f"{number}.csv"]) for number in range(5)]
    assert list(fs.walk("/data/tree", topdown=False)) == [*down[1:], down[0]]
    assert list(fs.walk("/data/tree", maxdepth=1)) == down[:1]
    visited = []
    for directory, directories, _ in fs.walk("/data/tree"):
        visited.append(directory)
        directories[:] = [name for name in directories if name == "3"]
    assert visited == ["/data/tree", "/data/tree/3"]
    assert list(fs.walk("/nope")) == [("/nope", [], [])]
    with fails(FileNotFoundError, errno.ENOENT, "/nope"):
        list(fs.walk("/nope", on_error="raise"))
    ((_, _, files),) = fs.walk("/data/many", detail=True)
    assert files["007"]["size"] == 0


def test_find_and_glob(fs: GuestFileSystem) -> None:
    paths = [f"/data/tree/{number}/{number}.csv" for number in range(5)]
    assert fs.find("/data/tree") == paths
    assert fs.find("/data/tree", maxdepth=1) == []
    assert fs.find("/data/tree", maxdepth=1, withdirs=True) == [
        "/data/tree", *(f"/data/tree/{number}" for number in range(5))
    ]  # fmt: skip
    assert fs.find(paths[2]) == paths[2:3]
    assert fs.find("/nope") == []
    assert fs.find("/data/tree", detail=True)[paths[1]]["size"] == 2
    assert fs.glob("/data/tree/*/[13].csv") == [paths[1], paths[3]]
    assert fs.glob("/data/**/2.csv") == [paths[2]]
    assert fs.glob("/data/m*/00?") == [f"/data/many/{number:03}" for number in range(10)]
    assert fs.glob("/data/to-dir*/sh") == []  # links are no directories to find
    assert fs.glob("/data/to-directory/s*") == ["/data/to-directory/sh"]
    assert fs.du("/data/tree") == 10
    assert fs.du("/data/tree", total=False)[paths[0]] == 2


def handle_of(fs: GuestFileSystem) -> Guestfs:
    """Return the blocking handle of a filesystem that runs."""
    found: list[Guestfs] = []
    sync(fs.loop, fs._guest.run, found.append)
    return found[0]


def calls(fs: GuestFileSystem, function: Callable[[], object]) -> list[str]:
    """Return the names of libguestfs' calls that the function made."""
    made: list[str] = []

    def begin(g: Guestfs) -> int:
        g.set_trace(True)
        return g.set_event_callback(lambda event, number, text, numbers: made.append(text), Event.TRACE)

    def end(g: Guestfs, number: int) -> None:
        g.delete_event_callback(number)
        g.set_trace(False)

    number = sync(fs.loop, fs._guest.run, begin)
    made.clear()
    function()
    found = [text.split(" ")[0] for text in made if " = " not in text and not text.startswith("internal_")]
    sync(fs.loop, fs._guest.run, lambda g: end(g, number))
    return found


def test_a_directory_is_listed_by_few_calls_and_then_remembered(fs: GuestFileSystem) -> None:
    fs.invalidate_cache()
    assert calls(fs, lambda: fs.ls("/data/many")) == ["statns", "readdir", "lstatnslist"]
    assert calls(fs, lambda: fs.ls("/data/many")) == []
    assert calls(fs, lambda: fs.info("/data/many/007")) == []
    assert calls(fs, lambda: fs.ls("/data/many", refresh=True)) == ["statns", "readdir", "lstatnslist"]
    fs.invalidate_cache("/data/many")
    assert calls(fs, lambda: fs.info("/data/many/007")) == ["lstatns"]
    assert calls(fs, lambda: fs.cat_file("/data/many/007")) == ["statns"]
    assert calls(fs, lambda: fs.cat_file("/data/letters")) == ["statns", "pread"]
    assert len(calls(fs, lambda: fs.find("/data/tree"))) == 2 + 2 * 6


def test_a_listing_can_be_changed_by_its_caller(fs: GuestFileSystem) -> None:
    fs.ls("/data/tree")[0]["name"] = "mine"
    fs.info("/data/tree/0")["name"] = "mine"
    fs.find("/data/tree", withdirs=True, detail=True)["/data/tree/0"]["name"] = "mine"
    assert fs.ls("/data/tree")[0]["name"] == fs.info("/data/tree/0")["name"] == "/data/tree/0"


def test_listings_are_bounded(fs: GuestFileSystem) -> None:
    few = GuestFileSystem(handle=handle_of(fs), max_entries=100)
    for look in (few.ls, few.find):
        with fails(OSError, errno.EFBIG, "/data/many"):
            look("/data/many")
    with fails(OSError, errno.EFBIG, "/data/many"):
        few.find("/data")
    with fails(OSError, errno.EFBIG, "/data/many"):
        list(few.walk("/data"))
    assert len(few.ls("/data/tree")) == 5
    assert dict(few.dircache) == {}  # another user of the handle may change the guest


def test_the_listings_that_are_remembered_are_bounded(
    fs: GuestFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guestkit.fs.listings.MOST", 10)
    fs.invalidate_cache()
    assert len(fs.ls("/data/many")) == 500
    assert len(fs.find("/data")) > 500
    assert sum(map(len, fs.dircache.values())) <= 10


# ---- reading


@pytest.mark.parametrize(
    ("start", "end"), [(None, None), (2, 5), (-3, None), (None, -3), (-4, -2), (5, 2), (8, 99), (99, None)]
)
def test_a_range_is_a_slice(fs: GuestFileSystem, start: int | None, end: int | None) -> None:
    assert fs.cat_file("/data/letters", start=start, end=end) == b"abcdefghij"[start:end]


def test_many_ranges_at_once(fs: GuestFileSystem) -> None:
    paths = ["/data/letters", "/data/large", "/nope"]
    letters, large, nothing = fs.cat_ranges(paths, [1, 3 << 20, 0], [3, (3 << 20) + 4, 1])
    assert (letters, large) == (b"bc", b"\0\1\2\3")
    assert isinstance(nothing, FileNotFoundError)
    with fails(FileNotFoundError, errno.ENOENT, "/nope"):
        fs.cat_ranges(paths, 0, 1, on_error="raise")
    with pytest.raises(ValueError, match="shorter"):
        fs.cat_ranges(paths, [0], 1)


def test_many_files_at_once(fs: GuestFileSystem) -> None:
    csv = {f"/data/tree/{number}/{number}.csv": f"{number}\n".encode() for number in range(5)}
    assert fs.cat(list(csv)) == fs.cat("/data/tree/*/*") == fs.cat("/data/tree", recursive=True) == csv
    assert fs.cat("/data/letters") == b"abcdefghij"
    assert fs.cat(["/data/letters"]) == {"/data/letters": b"abcdefghij"}
    with_missing = ["/data/letters", "/nope"]
    with fails(FileNotFoundError, errno.ENOENT, "/nope"):
        fs.cat(with_missing)
    assert list(fs.cat(with_missing, on_error="omit")) == ["/data/letters"]
    assert isinstance(fs.cat(with_missing, on_error="return")["/nope"], FileNotFoundError)
    many = [f"/data/many/{number:03}" for number in range(500)]
    assert fs.cat(many) == dict.fromkeys(many, b"")
    assert fs.sizes([*csv, many[0]]) == [2] * 5 + [0]
    assert calls(fs, lambda: fs.cat(list(csv))) == ["statns", "pread"] * 5


def test_an_open_file_is_read_at_random_and_in_lines(fs: GuestFileSystem) -> None:
    with fs.open("/data/large") as file:
        assert file.read() == LARGE
        file.seek((4 << 20) + 7)
        assert file.read(3) == b"\7\10\11"
        file.seek(-1, os.SEEK_END)
        assert (file.read(), file.read()) == (b"\xff", b"")
        with pickle.loads(pickle.dumps(file)) as same:
            assert same.tell() == len(LARGE)
    with fs.open("/data/lines.txt", "rt", encoding="utf-8") as text:
        assert list(text) == ["one\n", "two\n", "three ü\n"]
    with fs.open("/data/large", block_size=1000, cache_type="bytes") as file:
        file.seek(999)
        assert file.read(2) == LARGE[999:1001]


def test_reading_ahead_takes_few_calls(fs: GuestFileSystem) -> None:
    def read() -> None:
        with fs.open("/data/large") as file:
            while file.read(100_000):
                pass

    assert calls(fs, read).count("pread") <= 5


def test_what_is_read_at_once_is_bounded(fs: GuestFileSystem, tmp_path: Path) -> None:
    few = GuestFileSystem(handle=handle_of(fs), max_bytes=1000, max_get=1000)
    with fails(OSError, errno.EFBIG, "/data/large"):
        few.cat_file("/data/large")
    assert few.cat_file("/data/large", end=1000) == LARGE[:1000]
    with few.open("/data/large") as file:
        with fails(OSError, errno.EFBIG, "/data/large"):
            file.read()
        assert file.read(1000) == LARGE[:1000]
    assert len(few.cat("/data/letters")) == 10
    with fails(OSError, errno.EFBIG, "/data/large"):
        few.get_file("/data/large", str(tmp_path / "copy"))
    assert list(tmp_path.iterdir()) == []


def test_many_files_of_a_directory_took_a_status_each(fs: GuestFileSystem) -> None:
    """Only of a symlink, and of what is not there, the directory's own call tells too little."""
    csv = "/data/tree/0/0.csv"
    paths = ["/data/letters", csv, "/data/to-fifo", "/data/fifo", "/data/nope", "/data/letters"]
    found: list[list[Any]] = []
    made = calls(fs, lambda: found.append(fs.cat_ranges(paths, 0, 2)))
    of_files = [name for name in made if name != "is_ready"]
    assert of_files == ["lstatnslist", "pread", "statns", "pread", "statns", "statns", "pread"]
    kinds = [data if isinstance(data, bytes) else data.errno for data in found[0]]
    assert kinds == [b"ab", fs.cat_file(csv)[:2], errno.EINVAL, errno.EINVAL, errno.ENOENT, b"ab"]
    nowhere = fs.cat_ranges(["/nope/a", "/nope/b", "/data/letters/a", "/data/letters/b"], 0, 2)
    assert [error.errno for error in nowhere] == [errno.ENOENT] * 2 + [errno.ENOTDIR] * 2


def test_many_files_at_once_are_bounded_together(fs: GuestFileSystem) -> None:
    """Only each of them was bounded: 1000 sparse files of max_bytes each filled the host's memory."""
    few = GuestFileSystem(handle=handle_of(fs), max_bytes=25)
    paths = ["/data/letters"] * 100
    found = few.cat_ranges(paths, None, None)
    assert found[:2] == [b"abcdefghij"] * 2
    assert {one.errno for one in found[2:]} == {errno.EFBIG}
    csv = [f"/data/tree/{number}/{number}.csv" for number in range(5)]
    assert len(few.cat([*csv, "/data/letters"])) == 6
    with fails(OSError, errno.EFBIG, "/data/tree/2/2.csv"):
        GuestFileSystem(handle=handle_of(fs), max_bytes=15).cat([*csv, "/data/letters"])


@pytest.mark.parametrize("path", ["/data/fifo", "/data/to-fifo"])
def test_a_fifo_is_never_opened(fs: GuestFileSystem, path: str, tmp_path: Path) -> None:
    for use in (fs.open, fs.cat_file, lambda name: fs.get_file(name, str(tmp_path / "copy"))):
        with fails(OSError, errno.EINVAL, path) as caught:
            use(path)
        assert "a FIFO, which is not opened" in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    assert not fs.isfile(path)


def test_errors_are_those_of_python_with_guestkits_as_cause(fs: GuestFileSystem) -> None:
    with fails(FileNotFoundError, errno.ENOENT, "/nope") as missing:
        fs.info("/nope")
    assert isinstance(missing.value.__cause__, Error)
    assert missing.value.__cause__.op == "lstatns"
    for use in (fs.ls, fs.open, fs.cat_file):
        with fails(FileNotFoundError, errno.ENOENT, "/nope"):
            use("/nope")
    for use in (fs.open, fs.cat_file):
        with fails(IsADirectoryError, errno.EISDIR, "/data"):
            use("/data")
    with fails(NotADirectoryError, errno.ENOTDIR, "/etc/hosts/x"):
        fs.ls("/etc/hosts/x")
    assert not fs.exists("/etc/hosts/x")
    long = "/" + "x" * 300
    with fails(OSError, errno.ENAMETOOLONG, long):
        fs.info(long)
    assert not fs.isfile(long)
    with pytest.raises(NotImplementedError, match=r"not 'r\+b'"):
        fs.open("/data/letters", "r+b")


def test_a_name_in_an_error_is_escaped(fs: GuestFileSystem) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        fs.cat_file(f"/{hostile.ATTACK}")
    assert "\x1b" not in str(caught.value)
    assert r"\x1b" in str(caught.value)


WRITERS: dict[str, Callable[[Any, str], object]] = {
    "open": lambda fs, path: fs.open(path, "wb"),
    "append": lambda fs, path: fs.open(path, "ab"),
    "pipe": lambda fs, path: fs.pipe(path, b"x"),
    "put": lambda fs, path: fs.put_file(__file__, path),
    "touch": lambda fs, path: fs.touch(path),
    "mkdir": lambda fs, path: fs.mkdir(path),
    "makedirs": lambda fs, path: fs.makedirs(path, exist_ok=True),
    "rmdir": lambda fs, path: fs.rmdir(path),
    "rm": lambda fs, path: fs.rm(path, recursive=True),
    "cp": lambda fs, path: fs.cp("/data/letters", path),
    "mv": lambda fs, path: fs.mv("/data/letters", path),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_nothing_is_written_unless_asked_for(
    fs: GuestFileSystem, write: Callable[[Any, str], object]
) -> None:
    with fails(PermissionError, errno.EROFS, "/data/new") as caught:
        write(fs, "/data/new")
    assert "readonly=False" in str(caught.value)


# ---- copying out


class Told(Callback):  # type: ignore[misc]
    """Remembers the progress of each file."""

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, Callback] = {}

    def branched(self, path_1: str, path_2: str, **kwargs: Any) -> Callback:
        self.files[path_1] = Callback()
        return self.files[path_1]


def test_get_tells_its_progress(fs: GuestFileSystem, tmp_path: Path) -> None:
    told = Told()
    fs.get(["/data/large", "/data/letters"], str(tmp_path) + "/", callback=told)
    assert (tmp_path / "large").read_bytes() == LARGE
    assert (tmp_path / "letters").read_bytes() == b"abcdefghij"
    assert (told.size, told.value) == (2, 2)
    large = told.files["/data/large"]
    assert large.size == large.value == len(LARGE)
    with (tmp_path / "file").open("wb") as file:
        fs.get_file("/data/letters", file)
    assert (tmp_path / "file").read_bytes() == b"abcdefghij"


def test_what_is_no_file_costs_a_tree_only_that_part(
    fs: GuestFileSystem, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="guestkit"):
        fs.get("/data", str(tmp_path / "a" / "data"), recursive=True)
        fs.get("/srv", str(tmp_path / "a" / "srv"), recursive=True)
    names = {os.fsencode(path.relative_to(tmp_path / "a")) for path in (tmp_path / "a").rglob("*")}
    everything = {os.fsencode(name) for name in [*EXTRA, *hostile.FILES]}
    missing = {b"data/fifo", b"data/to-fifo", b"data/nowhere", b"data/circle", b"data/to-directory"}
    assert everything - names == missing | {b"srv/link"}  # which leads nowhere, too
    assert {path.name for path in tmp_path.iterdir()} == {"a"}
    assert not [path for path in (tmp_path / "a").rglob("*") if path.is_symlink()]
    assert (tmp_path / "a" / "srv" / "out").read_bytes() == fs.cat("/etc/passwd")  # the guest's
    assert sorted(record.getMessage().split(": ")[0] for record in caplog.records) == [
        "'/data/circle'", "'/data/fifo'", "'/data/nowhere'", "'/data/to-directory'", "'/data/to-fifo'",
        "'/srv/link'",
    ]  # fmt: skip


def test_a_get_of_many_files_had_no_bound(fs: GuestFileSystem, tmp_path: Path) -> None:
    """Each file was within max_get, but a guest may have any number of them, which share their content."""
    few, csv = GuestFileSystem(handle=handle_of(fs), max_get=9), fs.find("/data/tree")
    for number, (what, options) in enumerate([("/data/tree", {"recursive": True}), (csv, {})]):
        with pytest.raises(OSError, match="more than the 1 that max_get leaves") as caught:
            few.get(what, f"{tmp_path}/{number}/", **options)
        assert (caught.value.errno, caught.value.filename in csv) == (errno.EFBIG, True)
    few.get(csv[:4], f"{tmp_path}/four/")
    few.get(csv[4:], f"{tmp_path}/four/")  # each call has its own
    assert len(list((tmp_path / "four").iterdir())) == 5


def test_one_sparse_file_kept_the_others_of_a_tree_from_being_copied(
    fs: GuestFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    few = GuestFileSystem(handle=handle_of(fs), max_get=100)
    asked = few._info

    async def info(path: str, **options: Any) -> Any:
        found = await asked(path, **options)
        return found | {"size": 1 << 40} if path.endswith("3.csv") else found

    monkeypatch.setattr(few, "_info", info)
    few.get("/data/tree", f"{tmp_path}/tree/", recursive=True)
    copied = {path.name for path in (tmp_path / "tree").rglob("*.csv")}
    assert copied == {"0.csv", "1.csv", "2.csv", "4.csv"}
    assert "3.csv': not copied: 1099511627776 bytes are more than max_get permits" in caplog.text
    with fails(OSError, errno.EFBIG, "/data/tree/3/3.csv"):
        few.get("/data/tree/3/3.csv", f"{tmp_path}/alone")


# ---- async


async def read_all(fs: GuestFileSystem) -> list[bytes]:
    paths = [f"/data/tree/{number}/{number}.csv" for number in range(5)]
    return await asyncio.gather(*(fs._cat_file(path) for path in paths))


def test_it_belongs_to_a_loop_until_that_is_closed(disk: Path) -> None:
    fs = GuestFileSystem(disk, asynchronous=True)
    one, other = asyncio.new_event_loop(), asyncio.new_event_loop()
    try:
        assert one.run_until_complete(read_all(fs)) == [b"0\n", b"1\n", b"2\n", b"3\n", b"4\n"]
        with pytest.raises(RuntimeError, match="belongs to another event loop"):
            other.run_until_complete(read_all(fs))
        one.close()
        assert other.run_until_complete(read_all(fs))[4] == b"4\n"
        other.run_until_complete(fs._close())
    finally:
        one.close()
        other.close()


def test_a_cancelled_call_leaves_the_filesystem_usable(disk: Path) -> None:
    async def use() -> None:
        async with GuestFileSystem(disk, asynchronous=True) as fs:
            first = asyncio.ensure_future(fs._ls("/data"))
            second = asyncio.ensure_future(fs._cat_file("/data/letters"))
            await asyncio.sleep(0)
            first.cancel()  # while the appliance launches
            assert await second == b"abcdefghij"
            assert first.cancelled()
            async with await fs.open_async("/data/letters") as file:
                assert (await file.read(3), await file.read()) == (b"abc", b"defghij")

    asyncio.run(use())


def test_the_call_after_a_cancelled_one_failed_for_it(disk: Path) -> None:
    """A cancel that costs the appliance was told to the next caller."""

    async def use() -> None:
        begun = asyncio.Event()
        tell = functools.partial(asyncio.get_running_loop().call_soon_threadsafe, begun.set)

        def read(g: Guestfs) -> bytes:
            g.set_event_callback(lambda *event: tell(), Event.ENTER)
            return g.read_file("/data/letters")

        async with GuestFileSystem(disk, asynchronous=True, cancel_grace=0) as fs:
            await fs._cat_file("/data/letters")
            pid = await fs._run(Guestfs.get_pid)
            os.kill(pid, signal.SIGSTOP)
            reading = asyncio.ensure_future(fs._run(read))
            behind = asyncio.ensure_future(fs._cat_file("/data/letters"))
            await begun.wait()  # a call that has not begun costs no appliance
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            assert await behind == b"abcdefghij"
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
            assert await fs._cat_file("/data/letters") == b"abcdefghij"

    asyncio.run(use())


# ---- the appliance


def test_it_is_closed_and_launched_again(fs: GuestFileSystem) -> None:
    first = handle_of(fs)
    fs.close()
    assert not first.is_open()
    assert fs.cat("/data/letters") == b"abcdefghij"
    fs.close()
    fs.close()


def test_when_the_appliance_dies_the_next_call_launches_another(fs: GuestFileSystem) -> None:
    pid = handle_of(fs).get_pid()
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(ApplianceCrashed):
        fs.cat("/data/large")
    assert fs.cat("/data/letters") == b"abcdefghij"


def test_calls_behind_the_one_that_found_the_appliance_dead_were_told_of_faulty_files(disk: Path) -> None:
    """They got "Input/output error" for their files, on a handle without disks that nobody closed."""

    async def use() -> None:
        async with GuestFileSystem(disk, asynchronous=True) as fs:
            await fs._cat_file("/data/letters")
            os.kill(await fs._run(Guestfs.get_pid), signal.SIGKILL)
            reading = [fs._cat_file("/data/letters") for _ in range(8)]
            found = await asyncio.gather(*reading, return_exceptions=True)
        crashed = [one for one in found if isinstance(one, BaseException)]
        assert [type(one) for one in crashed] == [ApplianceCrashed]
        assert found.count(b"abcdefghij") == 7

    asyncio.run(use())


def test_a_filesystem_that_is_dropped_closes_its_appliance(disk: Path) -> None:
    fs = GuestFileSystem(disk, skip_instance_cache=True)
    g = handle_of(fs)
    process = g.get_pid()
    gone = os.pidfd_open(process)
    del fs, g
    gc.collect()
    assert select.select([gone], [], [], PATIENCE)[0]
    os.close(gone)


def test_an_unused_appliance_makes_room_for_another(
    disk: Path, demo_guest: Path, fs: GuestFileSystem
) -> None:
    """Regression: fsspec keeps filesystems for ever, so the launch after the last that fits never began."""
    set_appliance_limit(1)
    try:
        fs.close()
        one = GuestFileSystem(disk, admission_timeout=PATIENCE)
        other = GuestFileSystem(demo_guest, root="/dev/sda2", admission_timeout=PATIENCE)
        assert one.isfile("/etc/hosts")
        assert other.isdir("/lib")  # no operating system: what is mounted at /var elsewhere
        assert one.isfile("/data/letters")
        one.close()
    finally:
        set_appliance_limit(None)


def test_another_process_opens_its_disk_anew(disk: Path) -> None:
    program = """
import os, pickle, sys
from guestkit.fs import GuestFileSystem
fs = GuestFileSystem(os.path.basename(sys.argv[1]))
print(fs.cat_file("/data/letters"), flush=True)
sys.stdout.flush()
child = os.fork()
if child == 0:
    print(fs.cat_file("/data/lines.txt", end=3), flush=True)
    os.chdir("/")
    same = pickle.loads(pickle.dumps(fs))
    print(same is fs, same.cat_file("/data/lines.txt", start=4, end=7), flush=True)
    same.close()
    os._exit(0)
print(os.waitpid(child, 0)[1], fs.cat_file("/data/letters", end=1), flush=True)
"""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program, str(disk)]
    done = subprocess.run(
        command, cwd=disk.parent, capture_output=True, text=True, check=False, timeout=4 * PATIENCE
    )
    assert done.stdout.splitlines() == ["b'abcdefghij'", "b'one'", "False b'two'", "0 b'a'"], done.stderr


async def test_an_async_handle_of_the_callers_serves(disk: Path) -> None:
    async with AsyncGuestfs(appliance="inspection") as g:
        await g.open_disk(disk)
        await g.launch()
        await g.run(mount_guest)
        fs = GuestFileSystem(handle=g, asynchronous=True)
        assert await fs._cat_file("/data/letters") == b"abcdefghij"
        await fs._close()
        assert await fs._isfile("/data/letters")  # it is still open
