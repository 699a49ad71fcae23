"""What guestkit does with a guest's files, in a guest of one answer each."""

from __future__ import annotations

import errno
import io
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from guestkit import _operations as operations
from guestkit.errors import Error
from guestkit.files import GuestFile
from guestkit.guest import CHUNK, list_files


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
