"""Writing to a guest through fsspec, and fsspec's own tests of every filesystem: on the caller's handle."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec  # type: ignore[import-untyped]
import fsspec.tests.abstract as contract  # type: ignore[import-untyped]
import pytest
from fsspec.exceptions import FSTimeoutError  # type: ignore[import-untyped]

from guestkit import CallTimeout, Guestfs, open_guest, set_appliance_limit
from guestkit import _operations as operations
from guestkit.fs import GuestFileSystem
from tests.images.corpus import ROOT_UUID, Part, _make
from tests.images.trees import File, Link, debian

FILES: dict[str, File] = {
    "srv/attack": Link("../../../../../../../../../../etc"),
    "srv/absolute": Link("/data"),
    "srv/nowhere": Link("/data/made"),
    "data/kept": b"kept\n",
    "other": None,
}


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fs") / "disk.img"
    other = Part({"there": b""}, label="other")
    _make([Part(debian(**FILES), uuid=ROOT_UUID, size=48 << 20), other], path)
    return path


@pytest.fixture(scope="module")
def g(disk: Path) -> Iterator[Guestfs]:
    """A writable guest, with a second filesystem at /other."""
    with open_guest(disk, readonly=False, format="raw", root="/dev/sda1") as handle:
        handle.mount("/dev/sda2", "/other")
        yield handle


@pytest.fixture(scope="module")
def fs(g: Guestfs) -> GuestFileSystem:
    return GuestFileSystem(handle=g, readonly=False)


@pytest.fixture
def place(fs: GuestFileSystem) -> Iterator[str]:
    """An empty directory of the guest."""
    fs.mkdir("/data/place")
    yield "/data/place"
    fs.rm("/data/place", recursive=True)


def fails(kind: type[OSError], number: int, path: str) -> pytest.RaisesExc[OSError]:
    def check(error: OSError) -> bool:
        return type(error) is kind and error.errno == number and error.filename == path

    return pytest.RaisesExc(kind, check=check)


# ---- fsspec's own tests


class GuestFixtures(contract.AbstractFixtures):  # type: ignore[misc]
    @pytest.fixture
    def fs(self, g: Guestfs) -> GuestFileSystem:
        return GuestFileSystem(handle=g, readonly=False, auto_mkdir=True)

    @pytest.fixture
    def fs_path(self) -> str:
        return "/srv/contract"


class TestCopy(contract.AbstractCopyTests, GuestFixtures):  # type: ignore[misc]
    # The same patterns as for get, thirty times.
    test_copy_glob_edge_cases = pytest.mark.full(contract.AbstractCopyTests.test_copy_glob_edge_cases)


class TestGet(contract.AbstractGetTests, GuestFixtures):  # type: ignore[misc]
    pass


class TestPut(contract.AbstractPutTests, GuestFixtures):  # type: ignore[misc]
    test_put_glob_edge_cases = pytest.mark.full(contract.AbstractPutTests.test_put_glob_edge_cases)


class TestPipe(contract.AbstractPipeTests, GuestFixtures):  # type: ignore[misc]
    pass


class TestOpen(contract.AbstractOpenTests, GuestFixtures):  # type: ignore[misc]
    pass


# ---- files


@pytest.mark.parametrize("size", [0, 1, 2 << 20, (5 << 20) + 3])
def test_what_is_written_is_read_again(fs: GuestFileSystem, place: str, size: int, tmp_path: Path) -> None:
    content = os.urandom(size)
    fs.pipe_file(f"{place}/piped", content)
    with fs.open(f"{place}/opened", "wb", block_size=1 << 20) as file:
        for start in range(0, size, 700_000):
            file.write(content[start : start + 700_000])
    (tmp_path / "file").write_bytes(content)
    fs.put_file(str(tmp_path / "file"), f"{place}/put")
    fs.cp_file(f"{place}/put", f"{place}/copied")
    for name in ("piped", "opened", "put", "copied"):
        assert fs.cat_file(f"{place}/{name}") == content, name
    fs.pipe_file(f"{place}/piped", b"short")
    assert fs.cat_file(f"{place}/piped") == b"short"


def test_files_are_appended_to_and_made_only_once(fs: GuestFileSystem, place: str) -> None:
    with fs.open(f"{place}/log", "ab") as file:
        file.write(b"one\n")
    with fs.open(f"{place}/log", "at") as text:
        text.write("two\n")
    with fs.open(f"{place}/log", "ab") as file:
        assert file.tell() == 8
        file.write(b"three\n")
    assert fs.read_text(f"{place}/log") == "one\ntwo\nthree\n"
    with fs.open(f"{place}/new", "xb") as file:
        file.write(b"new")
    with fails(FileExistsError, errno.EEXIST, f"{place}/new"):
        fs.open(f"{place}/new", "xb")
    assert fs.cat_file(f"{place}/new") == b"new"


def test_touch_empties_a_file_only_when_told(fs: GuestFileSystem, place: str) -> None:
    fs.pipe_file(f"{place}/file", b"content")
    fs.touch(f"{place}/file", truncate=False)
    assert fs.cat_file(f"{place}/file") == b"content"
    fs.touch(f"{place}/file")
    assert fs.info(f"{place}/file")["size"] == 0


def test_a_transaction_keeps_owner_and_mode_or_leaves_all_as_it_was(
    g: Guestfs, fs: GuestFileSystem, place: str
) -> None:
    fs.pipe_file(f"{place}/old", b"old")
    g.chmod(0o640, f"{place}/old")
    g.chown(7, 8, f"{place}/old")
    g.ln_s("old", f"{place}/link")
    with pytest.raises(LookupError), fs.transaction:
        fs.pipe_file(f"{place}/at-once", b"")
        with fs.open(f"{place}/old", "wb") as file:
            file.write(b"never seen")
        raise LookupError
    assert fs.cat_file(f"{place}/old") == b"old"
    with fs.transaction:
        with fs.open(f"{place}/link", "ab") as file:
            file.write(b" and new")
        with fs.open(f"{place}/new", "wb") as file:
            file.write(b"new")
        assert fs.cat_file(f"{place}/old") == b"old"
    assert fs.cat_file(f"{place}/old") == b"old and new"
    seen = fs.info(f"{place}/old")
    assert (stat.S_IMODE(seen["mode"]), seen["uid"], seen["gid"]) == (0o640, 7, 8)
    assert fs.info(f"{place}/link")["destination"] == "old"
    assert fs.ls(place, detail=False) == [f"{place}/{name}" for name in ("at-once", "link", "new", "old")]


def test_every_method_takes_bytes(fs: GuestFileSystem, place: str, tmp_path: Path) -> None:
    """Some raised TypeError: those that fsspec gives patterns and lists of paths to."""
    top = os.fsencode(place)
    old, text = top + b"/\xff", f"{place}/\udcff"
    fs.pipe(old, b"content")
    assert fs.cat(old) == b"content"
    assert fs.cat([old]) == {text: b"content"}
    assert fs.glob(top + b"/\xff*") == fs.expand_path(top + b"/*") == [text]
    assert fs.find(top) == [text]
    assert fs.isfile(old)
    fs.cp(old, top + b"/copy")
    fs.mv(old, top + b"/moved")
    fs.mv([top + b"/moved"], top)
    fs.get(top + b"/moved", str(tmp_path / "got"))
    fs.put(str(tmp_path / "got"), top + b"/put\xff")
    assert fs.cat(top + b"/put\xff") == b"content"
    fs.rm([top + b"/moved", top + b"/copy"])
    fs.rm(top + b"/put*")
    fs.cp(Path(place), Path(f"{place}-copy"), recursive=True)
    fs.rm(Path(f"{place}-copy"), recursive=True)
    assert fs.ls(top) == []


def test_a_recursive_copy_made_an_empty_directory_of_a_symlink_to_one(
    g: Guestfs, fs: GuestFileSystem, place: str
) -> None:
    """As cp -r does, it keeps the symlinks that it finds, and follows those that it is told to copy."""
    fs.makedirs(f"{place}/old/sub")
    fs.pipe(f"{place}/old/sub/file", b"content")
    links = {"link": "sub", "to-file": "sub/file", "nowhere": "/none"}
    for name, target in links.items():
        g.ln_s(target, f"{place}/old/{name}")
    g.chmod(0o700, f"{place}/old/sub")
    g.chmod(0o640, f"{place}/old/sub/file")
    for new in ("new", "new"):
        fs.cp(f"{place}/old/", f"{place}/{new}", recursive=True)
        found = fs.find(f"{place}/new", detail=True, withdirs=True)
        told = {path.removeprefix(f"{place}/new/"): entry for path, entry in found.items()}
        assert {name: told[name].get("destination") for name in links} == links
        assert (oct(told["sub"]["mode"]), oct(told["sub/file"]["mode"])) == ("0o40700", "0o100640")
    fs.cp(f"{place}/old/link", f"{place}/named", recursive=True)
    fs.cp(f"{place}/old/*", f"{place}/matched/", recursive=True)
    assert fs.cat(f"{place}/named/file") == fs.cat(f"{place}/matched/link/file") == b"content"
    assert not fs.info(f"{place}/named")["islink"]
    assert not fs.info(f"{place}/matched/link")["islink"]
    fs.cp([f"{place}/old/to-file"], [f"{place}/file"], recursive=True)
    assert fs.info(f"{place}/file")["type"] == "file"
    assert not fs.info(f"{place}/file")["islink"]


def test_a_fifo_in_a_tree_failed_its_copy(
    g: Guestfs, fs: GuestFileSystem, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As get does, cp leaves it out with a warning; named by itself it is an error."""
    fs.makedirs(f"{place}/old")
    fs.pipe(f"{place}/old/file", b"content")
    fifo = f"{place}/old/fifo\x1b"
    g.mkfifo(0o600, fifo)
    fs.cp(f"{place}/old/", f"{place}/new", recursive=True)
    assert fs.find(f"{place}/new") == [f"{place}/new/file"]
    told = [message for message in caplog.messages if "not copied" in message]
    assert told == [f"{fifo!r}: not copied: a FIFO, which is not opened"]
    with pytest.raises(OSError, match="a FIFO, which is not opened"):
        fs.cp(fifo, f"{place}/other")


def test_a_secret_that_was_put_could_be_read_by_all(fs: GuestFileSystem, place: str, tmp_path: Path) -> None:
    """Regression: each new file was 0644, whatever the file of this host was."""
    for mode, wanted in ((0o600, 0o600), (0o6775, 0o755), (0o664, 0o644)):
        file = tmp_path / f"{mode:o}"
        file.write_bytes(b"content")
        file.chmod(mode)
        fs.put(str(file), f"{place}/{mode:o}")
        assert stat.S_IMODE(fs.info(f"{place}/{mode:o}")["mode"]) == wanted
    fs.put(str(tmp_path / "600"), f"{place}/6775")  # one that is there keeps its permissions
    assert stat.S_IMODE(fs.info(f"{place}/6775")["mode"]) == 0o755


def test_a_transaction_keeps_setuid_and_setgid(g: Guestfs, fs: GuestFileSystem, place: str) -> None:
    """The owner was set after the mode, which took them away."""
    fs.pipe_file(f"{place}/sudo", b"old")
    g.chown(7, 8, f"{place}/sudo")
    g.chmod(0o6755, f"{place}/sudo")
    with fs.transaction, fs.open(f"{place}/sudo", "wb") as file:
        file.write(b"new")
    assert fs.cat_file(f"{place}/sudo") == b"new"
    assert stat.S_IMODE(g.statns(f"{place}/sudo")["st_mode"]) == 0o6755


@pytest.mark.parametrize("mode", ["wb", "xb"])
async def test_an_awaited_file_is_written(g: Guestfs, place: str, mode: str) -> None:
    """Regression: a file that was made by "xb" could not be written."""
    fs = GuestFileSystem(handle=g, readonly=False, asynchronous=True)
    async with await fs.open_async(f"{place}/file", mode) as file:
        await file.write(b"one ")
        await file.write(b"two")
    assert await fs._cat_file(f"{place}/file") == b"one two"


def test_a_sparse_file_may_claim_any_size(
    g: Guestfs, fs: GuestFileSystem, place: str, tmp_path: Path
) -> None:
    g.touch(f"{place}/huge")
    g.truncate_size(f"{place}/huge", 1 << 41)
    with fails(OSError, errno.EFBIG, f"{place}/huge"):
        fs.cat_file(f"{place}/huge")
    with fails(OSError, errno.EFBIG, f"{place}/huge"):
        fs.get_file(f"{place}/huge", str(tmp_path / "huge"))
    assert fs.cat_file(f"{place}/huge", start=-4) == bytes(4)
    with fs.open(f"{place}/huge") as file:
        file.seek(1 << 40)
        assert file.read(2) == bytes(2)
    g.truncate_size(f"{place}/huge", 32 << 20)
    fs.get_file(f"{place}/huge", str(tmp_path / "holes"))
    copied = (tmp_path / "holes").stat()
    assert copied.st_size == 32 << 20
    assert copied.st_blocks * 512 < 1 << 20


def test_a_full_disk_is_told(fs: GuestFileSystem, place: str) -> None:
    with fails(OSError, errno.ENOSPC, f"{place}/big"):
        fs.pipe_file(f"{place}/big", bytes(64 << 20))


@pytest.mark.parametrize("kind", ["fifo", "device"])
def test_what_is_no_file_is_not_written_to(g: Guestfs, fs: GuestFileSystem, place: str, kind: str) -> None:
    path = f"{place}/{kind}"
    if kind == "fifo":
        g.mkfifo(0o600, path)
    else:
        g.mknod_b(0o600, 8, 0, path)  # the disk itself
    uses: tuple[Callable[[], object], ...] = (
        lambda: fs.open(path, "wb"),
        lambda: fs.open(path, "ab"),
        lambda: fs.pipe_file(path, b"x"),
        lambda: fs.put_file(__file__, path),
        lambda: fs.touch(path),
        lambda: fs.cp_file("/data/kept", path),
    )
    for use in uses:
        with fails(OSError, errno.EINVAL, path):
            use()
    with fails(OSError, errno.EINVAL, path):
        fs.cp_file(path, f"{place}/copy")


# ---- names and directories


def test_directories_are_made_and_removed(fs: GuestFileSystem, place: str) -> None:
    with fails(FileNotFoundError, errno.ENOENT, f"{place}/a/b"):
        fs.mkdir(f"{place}/a/b", create_parents=False)
    fs.mkdir(f"{place}/a/b")
    for make in (fs.mkdir, fs.makedirs):
        with fails(FileExistsError, errno.EEXIST, f"{place}/a/b"):
            make(f"{place}/a/b")
    fs.makedirs(f"{place}/a/b/c", exist_ok=True)
    fs.makedirs(f"{place}/a/b/c", exist_ok=True)
    with fails(OSError, errno.ENOTEMPTY, f"{place}/a/b"):
        fs.rmdir(f"{place}/a/b")
    fs.rmdir(f"{place}/a/b/c")
    fs.touch(f"{place}/file")
    with fails(FileExistsError, errno.EEXIST, f"{place}/file"):
        fs.makedirs(f"{place}/file", exist_ok=True)
    with pytest.raises(NotADirectoryError):
        fs.makedirs(f"{place}/file/below", exist_ok=True)
    with fails(NotADirectoryError, errno.ENOTDIR, f"{place}/file"):
        fs.rmdir(f"{place}/file")


def test_a_missing_directory_is_made_only_when_told(g: Guestfs, fs: GuestFileSystem, place: str) -> None:
    path = f"{place}/no/file"
    with fails(FileNotFoundError, errno.ENOENT, path):
        fs.pipe_file(path, b"x")
    with fails(FileNotFoundError, errno.ENOENT, path):
        fs.open(path, "wb")
    assert not fs.exists(f"{place}/no")
    making = GuestFileSystem(handle=g, readonly=False, auto_mkdir=True)
    making.pipe_file(path, b"x")
    assert fs.cat_file(path) == b"x"


def test_files_and_trees_are_removed(fs: GuestFileSystem, place: str) -> None:
    fs.makedirs(f"{place}/tree/below")
    fs.pipe({f"{place}/tree/below/{number}": b"" for number in range(20)})
    with fails(IsADirectoryError, errno.EISDIR, f"{place}/tree"):
        fs.rm(f"{place}/tree")
    with fails(FileNotFoundError, errno.ENOENT, f"{place}/nope"):
        fs.rm(f"{place}/nope")
    fs.rm(f"{place}/tree/below/1*")
    assert len(fs.find(f"{place}/tree")) == 9
    fs.rm(f"{place}/tree", recursive=True)
    assert fs.ls(place) == []
    with fails(PermissionError, errno.EPERM, "/"):
        fs.rm("/", recursive=True)


def test_names_of_the_guest_were_taken_for_patterns(fs: GuestFileSystem, place: str, tmp_path: Path) -> None:
    """rm of a file named * removed all others, too, and what find() found was not what cat() read."""
    names = {"r[1].pdf": b"itself", "r1.pdf": b"other", "*": b"star", "keep": b"kept"}
    files = {f"{place}/{name}": content for name, content in names.items()}
    fs.pipe(files)
    assert fs.cat(fs.find(place)) == files
    assert fs.cat(f"{place}/r[1].pdf") == b"itself"
    assert fs.cat([f"{place}/r[1]*"], on_error="omit") == {}
    assert fs.cat(f"{place}/r[1]*") == {f"{place}/r1.pdf": b"other"}
    fs.get(fs.find(place), f"{tmp_path}/got/")
    assert {path.name: path.read_bytes() for path in (tmp_path / "got").iterdir()} == names
    fs.mkdir(f"{place}/put")
    fs.put([str(path) for path in (tmp_path / "got").iterdir()], f"{place}/put/")
    fs.put(str(tmp_path / "got" / "r[1].pdf"), f"{place}/put")
    fs.cp(f"{place}/r[1].pdf", f"{place}/put/copied")
    fs.mv(f"{place}/put/r[1].pdf", f"{place}/put/moved")
    found = {path.removeprefix(f"{place}/put/"): fs.cat_file(path) for path in fs.find(f"{place}/put")}
    assert found == {
        "*": b"star",
        "copied": b"itself",
        "keep": b"kept",
        "moved": b"itself",
        "r1.pdf": b"other",
    }
    fs.rm(f"{place}/*")
    fs.rm([f"{place}/r[1].pdf"])
    assert fs.find(place, maxdepth=1) == [f"{place}/keep", f"{place}/r1.pdf"]
    fs.rm(f"{place}/*", recursive=True)  # a pattern now
    assert fs.ls(place) == []


def test_rm_to_a_depth_failed_at_the_first_directory(g: Guestfs, fs: GuestFileSystem, place: str) -> None:
    """As only recursive=True removes directories, it said, though that was given."""
    fs.pipe_file("/data/apart", b"")
    fs.makedirs(f"{place}/tree/deep/deeper")
    fs.mkdir(f"{place}/tree/empty")
    fs.pipe({f"{place}/tree/{name}": b"" for name in ("file", "deep/file", "deep/deeper/file")})
    g.ln_s("/data", f"{place}/tree/link")
    fs.rm(f"{place}/tree", recursive=True, maxdepth=1)
    assert fs.find(f"{place}/tree") == [f"{place}/tree/deep/deeper/file", f"{place}/tree/deep/file"]
    g.ln_s("/data", f"{place}/link")
    fs.rm([f"{place}/tree", f"{place}/link"], recursive=True, maxdepth=3)
    assert fs.ls(place) == []
    assert fs.exists("/data/apart")
    fs.rm("/data/apart")


def test_files_and_directories_are_moved(g: Guestfs, fs: GuestFileSystem, place: str) -> None:
    fs.pipe({f"{place}/one": b"1", f"{place}/two": b"2"})
    fs.mv(f"{place}/one", f"{place}/two")
    assert fs.cat_file(f"{place}/two") == b"1"
    assert not fs.exists(f"{place}/one")
    fs.makedirs(f"{place}/from/below")
    fs.pipe_file(f"{place}/from/below/file", b"x")
    fs.mkdir(f"{place}/to")
    fs.mv(f"{place}/from", f"{place}/to")
    assert fs.find(f"{place}/to") == [f"{place}/to/from/below/file"]
    fs.mv(f"{place}/to/from/below", f"{place}/renamed", recursive=True)
    fs.mv(f"{place}/t*o", f"{place}/renamed")
    assert fs.find(place) == [f"{place}/renamed/file", f"{place}/renamed/two"]
    fs.mv(f"{place}/renamed/two", f"{place}/renamed/two")
    g.ln(f"{place}/renamed/two", f"{place}/hard")
    fs.mv(f"{place}/renamed/two", f"{place}/hard")
    assert fs.find(place) == [f"{place}/hard", f"{place}/renamed/file"]
    with fails(FileNotFoundError, errno.ENOENT, f"{place}/nope"):
        fs.mv(f"{place}/nope", f"{place}/there")


def test_a_move_between_filesystems_keeps_everything(g: Guestfs, fs: GuestFileSystem, place: str) -> None:
    fs.makedirs(f"{place}/tree/below")
    fs.pipe_file(f"{place}/tree/below/file", b"content")
    g.chmod(0o751, f"{place}/tree/below/file")
    g.chown(7, 8, f"{place}/tree/below/file")
    g.ln_s("below/file", f"{place}/tree/link")
    fs.mv(f"{place}/tree", "/other/")
    assert not fs.exists(f"{place}/tree")
    seen = fs.info("/other/tree/link")
    assert (stat.S_IMODE(seen["mode"]), seen["uid"], seen["destination"]) == (0o751, 7, "below/file")
    fs.pipe_file(f"{place}/file", b"newer")
    fs.mv(f"{place}/file", "/other/tree/below/file")
    assert fs.cat_file("/other/tree/below/file") == b"newer"
    fs.mkdir(f"{place}/tree")
    with fails(OSError, errno.ENOTEMPTY, "/other/tree"):
        fs.mv(f"{place}/tree", "/other")
    fs.pipe_file(f"{place}/there", b"")
    fs.rmdir(f"{place}/tree")
    fs.mkdir(f"{place}/there-too")
    fs.rm("/other/tree", recursive=True)
    assert fs.find("/other") == ["/other/there"]


def test_a_move_between_filesystems_that_failed_had_removed_the_target(
    g: Guestfs, fs: GuestFileSystem, place: str
) -> None:
    g.fill(0x61, 28 << 20, f"{place}/large")
    fs.pipe_file("/other/precious", b"kept")
    before = fs.ls("/other", detail=False)
    with pytest.raises(OSError, match="/other/precious"):
        fs.mv(f"{place}/large", "/other/precious")
    assert fs.cat_file("/other/precious") == b"kept"
    assert fs.ls("/other", detail=False) == before
    assert fs.exists(f"{place}/large")
    fs.rm("/other/precious")


def test_a_link_that_could_not_be_made_had_removed_the_file(g: Guestfs, fs: GuestFileSystem) -> None:
    fs.pipe_file("/other/precious", b"kept")
    with fails(OSError, errno.EXDEV, "/other/precious"):
        operations.link(g, "/data/kept", "/other/precious", symbolic=False, replace=True)
    assert fs.cat_file("/other/precious") == b"kept"
    fs.rm("/other/precious")


def test_a_transaction_without_room_for_a_copy_left_a_part_of_it(g: Guestfs, fs: GuestFileSystem) -> None:
    g.fill(0x61, 14 << 20, "/other/large")
    before = fs.ls("/other", detail=False)
    with fs.transaction, pytest.raises(OSError, match="/other/large"):
        fs.open("/other/large", "ab")
    assert fs.ls("/other", detail=False) == before
    fs.rm("/other/large")


def test_symlinks_do_not_lead_a_writer_out_of_the_guest(g: Guestfs, fs: GuestFileSystem, place: str) -> None:
    """The appliance has an /etc of its own, which a symlink of the guest must not reach."""
    before = g.debug("sh", ["find /etc | sort | cksum"])
    fs.mkdir("/etc/tree")
    large = bytes(3 << 20)
    fs.pipe_file("/etc/tree/large", large)
    fs.cp_file("/srv/attack/tree/large", "/srv/attack/tree/copied")
    assert fs.cat_file("/etc/tree/copied") == large
    fs.mv("/srv/attack/tree/copied", "/srv/attack/moved")
    fs.mv("/srv/attack/moved", "/other/moved")
    fs.mv("/other/moved", "/srv/attack/moved")
    assert fs.info("/etc/moved")["size"] == len(large)
    fs.rm("/srv/attack/moved")
    fs.rm("/srv/attack/tree", recursive=True)
    assert not fs.exists("/etc/tree")
    fs.rm("/srv/attack", recursive=True)  # the symlink itself
    assert fs.exists("/etc/passwd")
    g.ln_s("../../../../../../../../../../etc", "/srv/attack")
    assert g.debug("sh", ["find /etc | sort | cksum"]) == before


def test_what_a_symlink_names_is_made_in_the_guest(fs: GuestFileSystem, place: str) -> None:
    fs.pipe_file("/srv/nowhere", b"x")
    assert fs.cat_file("/data/made") == b"x"
    with fails(FileExistsError, errno.EEXIST, "/srv/nowhere"):
        fs.open("/srv/nowhere", "xb")
    fs.rm("/data/made")
    with fails(FileExistsError, errno.EEXIST, "/srv/nowhere"):
        fs.open("/srv/nowhere", "xb")
    with fails(OSError, errno.EINVAL, "/srv/absolute/kept"):
        fs.cp_file("/data/kept", "/srv/absolute/kept")
    assert fs.cat_file("/data/kept") == b"kept\n"
    name = f"{place}/\udcff\x1b[2J"
    fs.pipe_file(name, b"x")
    assert fs.ls(place, detail=False) == [name]


# ---- its own appliance


def test_what_is_written_is_on_the_disk_when_it_is_closed(demo_guest: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.img"
    copy.write_bytes(demo_guest.read_bytes())
    url = f"guestkit:///new/directory/file.txt.gz::file://{copy}"
    with fsspec.open(url, "wt", compression="gzip", readonly=False, format="raw") as file:
        file.write("from outside\n")
    writer = GuestFileSystem(copy, readonly=False, format="raw")
    assert writer.isfile("/new/directory/file.txt.gz")
    writer.close()
    with (
        GuestFileSystem(copy) as reader,
        reader.open("/new/directory/file.txt.gz", "rt", compression="infer") as file,
    ):
        assert file.read() == "from outside\n"


def test_an_appliance_of_a_closed_loop_could_not_be_closed(demo_guest: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.img"
    copy.write_bytes(demo_guest.read_bytes())
    fs = GuestFileSystem(copy, readonly=False, format="raw", asynchronous=True)
    asyncio.run(fs._pipe_file("/marker", b"on the disk it is"))
    asyncio.run(fs._close())
    assert b"on the disk it is" in copy.read_bytes()


def test_a_launch_that_finds_no_memory_says_so(g: Guestfs, demo_guest: Path) -> None:
    g.statvfs("/")
    set_appliance_limit(1)
    try:
        fs = GuestFileSystem(demo_guest, admission_timeout=0)
        with pytest.raises(FSTimeoutError) as caught:
            fs.ls("/")
    finally:
        set_appliance_limit(None)
    assert isinstance(caught.value.__cause__, CallTimeout)
    assert "admission_timeout" in str(caught.value.__cause__)
