"""What guestkit does with a guest's files, in a guest of one answer each."""

from __future__ import annotations

import errno
import io
import os
import shutil
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from guestkit import Guestfs
from guestkit import _operations as operations
from guestkit.errors import Error
from guestkit.files import CHUNK, GuestFile
from guestkit.reading import list_files
from guestkit.serving.guest import GuestFiles


class Guest:
    """A guest of one file, which holds zeros, one directory, which once was large, and one that is deep."""

    def is_dir(self, path: str, followsymlinks: bool) -> bool:
        return True

    def _walked(self, path: str, max_depth: int, max_entries: int, size: int) -> list[GuestFile]:
        raise Error("readdir", f"{path}: its names take {size} bytes", errno.EFBIG)

    def walk(self, path: str) -> list[GuestFile]:
        facts: Any = {"size": 0, "mode": 0, "uid": 0, "gid": 0, "mtime": 0, "target": ""}
        return [GuestFile(path=f"{path}/\x1b", kind="d", not_entered=True, **facts)]

    def pread(self, path: str, size: int, offset: int, *, memoryview: bool) -> Any:
        return _ZEROS

    def statns(self, path: str) -> dict[str, int]:
        return {"st_mode": stat.S_IFDIR | 0o755, "st_size": 1 << 30}


GUEST: Any = Guest()
_ZEROS = memoryview(bytes(CHUNK))


def test_zeros_were_compared_one_by_one(tmp_path: Path) -> None:
    def seconds(function: Any) -> float:
        begun = time.process_time()
        function()
        return time.process_time() - begun

    with open(tmp_path / "file", "wb") as file:
        saving = min(seconds(lambda: operations.save(GUEST, "/x", 0, file, holes=True)) for _ in range(5))
    copying = min(seconds(lambda: bytes(_ZEROS)) for _ in range(5))
    assert saving < 20 * copying + 0.002


def test_other_parts_than_zeros_are_kept() -> None:
    class Other(Guest):
        def pread(self, path: str, size: int, offset: int, *, memoryview: bool) -> Any:
            return _ZEROS[:5] if offset else _ONE

    _ONE, other = memoryview(b"\0\0\1"), Other()
    file = io.BytesIO()
    assert operations.save(other, "/x", 0, file, holes=True) == 3  # type: ignore[arg-type]
    assert operations.save(other, "/x", 3, file, holes=True) == 5  # type: ignore[arg-type]
    assert (file.getvalue(), file.tell()) == (b"\0\0\1", 8)


def test_a_directory_that_once_was_large_was_said_to_have_too_many_files() -> None:
    with pytest.raises(OSError, match="names that once took more space") as caught:
        operations.listing(GUEST, "/spool", 1000)
    assert caught.value.errno == errno.EFBIG
    assert "a directory does not shrink" in str(caught.value)


def test_what_lies_too_deep_was_left_out_of_a_listing_without_a_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert len(list_files(GUEST, "/srv", recursive=True)) == 1
    assert "/srv/\\x1b: too deep: what is in there is not looked at" in caplog.text


# ---- changes, in a guest whose files are those of a directory of this host


class Host:
    """A guest whose files are below a directory of this host.

    Attributes:
        exposed: the files that had content while others could read them
    """

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self.exposed: list[str] = []

    def _at(self, path: str) -> str:
        return self._root + path

    def _seen(self, path: str, follow: bool) -> dict[str, int]:
        try:
            seen = os.stat(self._at(path), follow_symlinks=follow)
        except OSError as error:
            raise Error("statns", path, error.errno or 0) from error
        return {
            f"st_{name}": getattr(seen, f"st_{name}") for name in ("mode", "size", "dev", "ino", "uid", "gid")
        }

    def statns(self, path: str) -> dict[str, int]:
        return self._seen(path, follow=True)

    def lstatns(self, path: str) -> dict[str, int]:
        return self._seen(path, follow=False)

    def write(self, path: str, content: bytes) -> None:
        is_new = not os.path.exists(self._at(path))
        Path(self._at(path)).write_bytes(content)
        if is_new:
            os.chmod(self._at(path), 0o644)
        self._look(path)

    def pread(self, path: str, size: int, offset: int) -> bytes:
        return Path(self._at(path)).read_bytes()[offset : offset + size]

    def pwrite(self, path: str, content: bytes, offset: int) -> int:
        with open(self._at(path), "r+b") as file:
            file.seek(offset)
            count = file.write(content)
        self._look(path)
        return count

    def copy_file_to_file(self, old: str, new: str) -> None:
        shutil.copyfile(self._at(old), self._at(new))
        self._look(new)

    def _look(self, path: str) -> None:
        seen = os.stat(self._at(path))
        if seen.st_size and seen.st_mode & 0o077:
            self.exposed.append(path)

    def mkdir_p(self, path: str) -> None:
        os.makedirs(self._at(path), 0o755, exist_ok=True)

    def chmod(self, mode: int, path: str) -> None:
        os.chmod(self._at(path), mode)

    def chown(self, uid: int, gid: int, path: str) -> None:
        assert (uid, gid) == (os.getuid(), os.getgid())

    def copy_attributes(self, old: str, new: str, xattributes: bool) -> None:
        assert xattributes

    def rename(self, old: str, new: str) -> None:
        os.rename(self._at(old), self._at(new))

    def rm(self, path: str) -> None:
        os.unlink(self._at(path))

    def ln_s(self, target: str, path: str) -> None:
        os.symlink(target, self._at(path))

    def readlinklist(self, directory: str, names: list[str]) -> list[str]:
        return [os.readlink(os.path.join(self._at(directory), name)) for name in names]

    def realpath(self, path: str) -> str:
        return os.path.realpath(self._at(path)).removeprefix(self._root)

    def rm_rf(self, path: str) -> None:
        shutil.rmtree(self._at(path))

    def mode(self, path: str) -> str:
        return oct(stat.S_IMODE(os.stat(self._at(path)).st_mode))


@pytest.fixture
def host(tmp_path: Path) -> Any:
    return Host(tmp_path)


@pytest.mark.parametrize("size", [6, CHUNK + 1])
def test_a_copy_of_a_secret_was_readable_by_everybody(host: Any, tmp_path: Path, size: int) -> None:
    (tmp_path / "shadow").write_bytes(bytes(size))
    (tmp_path / "shadow").chmod(0o4700)
    operations.copy(host, "/shadow", "/copy", parents=False)
    assert (host.mode("/copy"), (tmp_path / "copy").stat().st_size) == ("0o700", size)
    assert host.exposed == []
    (tmp_path / "there").touch(0o600)
    (tmp_path / "there").chmod(0o604)
    operations.copy(host, "/shadow", "/there", parents=False)
    assert host.mode("/there") == "0o604"


@pytest.mark.parametrize(("kind", "mode"), [("mkdir", "0o755"), ("touch", "0o644")])
def test_a_copy_could_be_written_by_everybody(host: Any, tmp_path: Path, kind: str, mode: str) -> None:
    """That of /var/tmp had lost the sticky bit, too."""
    getattr(tmp_path / "tmp", kind)()
    (tmp_path / "tmp").chmod(0o1777 if kind == "mkdir" else 0o666)
    operations.copy(host, "/tmp", "/copy", parents=False)
    assert host.mode("/copy") == mode


def test_a_copy_of_a_directory_was_open_to_everybody(host: Any, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root").chmod(0o700)
    operations.copy(host, "/root", "/a/copy", parents=False)
    assert (host.mode("/a/copy"), host.mode("/a")) == ("0o700", "0o755")
    (tmp_path / "a/copy").chmod(0o750)
    operations.copy(host, "/root", "/a/copy", parents=False)  # which is there
    assert host.mode("/a/copy") == "0o750"


@pytest.mark.parametrize("mode", ["w", "a"])
def test_what_takes_a_secrets_place_was_readable_until_then(host: Any, tmp_path: Path, mode: str) -> None:
    (tmp_path / "shadow").write_bytes(b"old")
    (tmp_path / "shadow").chmod(0o600)
    place = operations.begin(host, "/shadow", mode, True, False)
    operations.write(host, place.path, b"new", place.offset)
    operations.settle(host, place, keep=True)
    assert host.exposed == []
    assert (tmp_path / "shadow").read_bytes() == (b"oldnew" if mode == "a" else b"new")
    assert (host.mode("/shadow"), os.listdir(tmp_path)) == ("0o600", ["shadow"])


async def test_a_file_that_is_copied_by_a_server_was_readable_by_everybody(
    host: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def parts() -> Any:
        yield b"secret"

    async def look(function: Any, *arguments: Any) -> Any:
        return function(host, *arguments)

    with Guestfs() as g:
        files = GuestFiles(g, readonly=False)
        monkeypatch.setattr(files, "look", look)
        await files.store("/copy", parts(), 0o600)
        assert (host.mode("/copy"), host.exposed) == ("0o600", [])
        await files.store("/upload", parts())
        assert (host.mode("/upload"), sorted(os.listdir(tmp_path))) == ("0o644", ["copy", "upload"])


def test_a_copied_symlink_to_a_directory_became_an_empty_directory(host: Any, tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("directory")
    (tmp_path / "other").touch()
    for new in ("/copy", "/a/copy", "/other"):
        operations.copy(host, "/link", new, parents=True, keep_link=True)
        assert os.readlink(f"{tmp_path}{new}") == "directory"
    operations.copy(host, "/link", "/followed", parents=False)
    assert (tmp_path / "followed").is_dir()
    assert not (tmp_path / "followed").is_symlink()


def test_a_move_across_filesystems_into_itself_was_a_copy_without_end(
    host: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rename(old: str, new: str) -> None:
        raise Error("rename", "another filesystem", errno.EXDEV)

    monkeypatch.setattr(host, "rename", rename)
    monkeypatch.setattr(host, "cp_a", lambda old, new: pytest.fail("copied"), raising=False)
    (tmp_path / "data/mounted").mkdir(parents=True)
    (tmp_path / "link").symlink_to("data")
    with pytest.raises(OSError, match="not moved into itself") as caught:
        operations.move(host, "/data", "/data/mounted", into=True, parents=False)
    assert caught.value.errno == errno.EINVAL
    with pytest.raises(OSError, match="not moved into itself"):
        operations.rename(host, "/data", "/link/mounted/data", replace=False)
    assert os.listdir(tmp_path / "data/mounted") == []


@pytest.mark.parametrize("function", [operations.move, operations.rename])
def test_a_move_to_another_name_of_the_file_left_both(host: Any, tmp_path: Path, function: Any) -> None:
    for name in ("one", "way/one"):
        (tmp_path / "way").mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"kept")
        os.link(tmp_path / name, tmp_path / "other")
        function(host, f"/{name}", "/other", *((False, False) if function is operations.move else (True,)))
        assert not (tmp_path / name).exists()
        assert os.listdir(tmp_path / "way") == []
        assert (tmp_path / "other").read_bytes() == b"kept"
        (tmp_path / "other").unlink()


def test_a_move_to_the_name_that_the_file_has_removes_nothing(host: Any, tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("directory")
    (tmp_path / "directory/file").write_bytes(b"kept")
    os.link(tmp_path / "directory/file", tmp_path / "other")
    operations.rename(host, "/directory/file", "/link/file", replace=True)
    operations.move(host, "/link/file", "/directory", into=False, parents=False)
    assert os.listdir(tmp_path / "directory") == ["file"]


def test_a_move_to_a_name_that_differs_in_case_removes_nothing(
    host: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on FAT, where both names are one."""
    at = type(host)._at
    monkeypatch.setattr(type(host), "_at", lambda self, path: at(self, path.lower()))
    (tmp_path / "file").write_bytes(b"kept")
    operations.rename(host, "/FILE", "/File", replace=True)
    assert (tmp_path / "file").read_bytes() == b"kept"


def test_a_file_of_two_names_stays_where_a_move_fails(
    host: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rm(path: str) -> None:
        raise Error("rm", "read-only", errno.EROFS)

    monkeypatch.setattr(host, "rm", rm)
    (tmp_path / "one").write_bytes(b"kept")
    os.link(tmp_path / "one", tmp_path / "other")
    with pytest.raises(OSError, match="Read-only"):
        operations.rename(host, "/one", "/other", replace=True)
    assert sorted(os.listdir(tmp_path)) == ["one", "other"]
