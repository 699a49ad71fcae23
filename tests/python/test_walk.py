"""What becomes of a guest's files where some of its directories cannot be read: the guest is a list here."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import pytest

import guestkit.cli.ls
import guestkit.cli.shell
from guestkit import CallTimeout, Error, _walk, diff_files
from guestkit._operations import trees
from guestkit._walk import told, walk
from guestkit.cli import main
from guestkit.files import GuestFile
from guestkit.languages import find_packages

PATHS = ["/a/x", "/a/y/z", "/b/bad/lost", "/b/c", "/d.egg-info"]
REASON = f"/b/bad: {os.strerror(errno.EUCLEAN)}: what is in there is not looked at"


class Guest:
    """A guest with these files, and directories that cannot be read; each file holds the same."""

    def __init__(self, paths: Sequence[str] = PATHS, damaged: Collection[str] = ("/b/bad",)) -> None:
        self.damaged = damaged
        self.looked_at: list[str] = []
        self.below: dict[str, list[str]] = {}
        for path in paths:
            names = path.split("/")
            for level in range(1, len(names)):
                above, below = "/".join(names[:level]) or "/", "/".join(names[: level + 1])
                if below not in self.below.setdefault(above, []):
                    self.below[above].append(below)

    def is_ready(self) -> bool:
        return True

    def is_dir(self, path: str, *, followsymlinks: bool = False) -> bool:
        return path in self.below

    def walk(self, top: str, max_depth: int = 256) -> list[GuestFile]:
        return self._walked(top, max_depth, 1_000_000, -1)

    def _walked(self, top: str, max_depth: int, max_entries: int, size: int) -> list[GuestFile]:
        found: list[GuestFile] = []
        waiting = [(top, 0)]
        while waiting:
            directory, depth = waiting.pop()
            self.looked_at.append(directory)
            if directory in self.damaged:
                raise Error("readdir", f"readdir: {directory}", errno.EUCLEAN)
            left_out = depth >= max_depth
            found += (self._file(path, left_out) for path in sorted(self.below[directory]))
            if len(found) > max_entries:
                raise Error("walk", "too many", errno.EFBIG)
            if not left_out:
                inside = (path for path in sorted(self.below[directory]) if path in self.below)
                waiting += reversed([(path, depth + 1) for path in inside])
        return found

    def _file(self, path: str, left_out: bool) -> GuestFile:
        kind: Any = "d" if path in self.below else "-"
        return GuestFile(
            path=path, kind=kind, size=0, mode=0o755, uid=0, gid=0, mtime=0, target="",
            not_entered=kind == "d" and left_out,
        )  # fmt: skip

    def read_files(self, paths: Sequence[str], *, limit: int) -> dict[str, bytes]:
        return dict.fromkeys(paths, b"Name: d")


def walked(**options: Any) -> tuple[list[GuestFile], dict[str, str]]:
    guest: Any = Guest(**options)
    return walk(guest, "/")


def test_one_damaged_directory_cost_all_others() -> None:
    files, unread = walked()
    whole, _ = walked(damaged=())
    assert [file.path for file in files] == [file.path for file in whole if file.path != "/b/bad/lost"]
    assert [file.path for file in files if file.not_entered] == ["/b/bad"]
    assert list(told(unread)) == [REASON]


def test_a_guest_of_damaged_directories_filled_the_screen() -> None:
    directories = [f"/{number}" for number in range(150)]
    files, unread = walked(paths=[f"{path}/file" for path in directories], damaged=directories)
    assert len(files) == 150
    sentences = list(told(unread))
    assert len(sentences) == 101
    assert sentences[-1] == "what is in 50 more directories is not looked at either"


def test_what_is_too_deep_is_told_beside_what_is_damaged() -> None:
    deep = "/d" * 257
    paths = [f"{deep}/file", "/bad/file"]
    whole, left_out = walked(paths=paths, damaged=())
    files, unread = walked(paths=paths, damaged=["/bad"])
    assert files[1:] == [file for file in whole[1:] if file.path != "/bad/file"]
    assert left_out == {deep: "too deep"}
    assert unread == {**left_out, "/bad": os.strerror(errno.EUCLEAN)}


@pytest.mark.parametrize(("limit", "value"), [("MAX_ENTRIES", 7), ("MAX_TEXT", 30)])
def test_the_limits_of_a_walk_hold_where_a_directory_is_damaged(
    limit: str, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(walked()[0]) == 8
    for module in (_walk, trees):
        monkeypatch.setattr(module, limit, value, raising=False)
    with pytest.raises(Error) as caught:
        walked()
    assert caught.value.errno == errno.EFBIG


def test_a_directory_of_too_many_names_cost_all_others() -> None:
    class Large(Guest):
        def _walked(self, top: str, *bounds: int) -> list[GuestFile]:
            try:
                return super()._walked(top, *bounds)
            except Error as error:
                text = "/b/bad: its names take 1073741824 bytes"
                raise Error("readdir", text, errno.EFBIG) from error

    guest: Any = Large()
    files, unread = walk(guest, "/")
    assert files == walked()[0]
    assert unread == {"/b/bad": os.strerror(errno.EFBIG)}


def test_a_directory_that_cannot_be_read_itself_is_an_error() -> None:
    with pytest.raises(Error, match="readdir: /"):
        walked(damaged=["/"])


def test_the_end_of_the_appliance_is_no_damaged_directory() -> None:
    class Slow(Guest):
        def _walked(self, top: str, *bounds: int) -> list[GuestFile]:
            if top == "/a":
                raise CallTimeout("walk", "took longer than 5 s", handle_usable=False)
            return super()._walked(top, *bounds)

    guest: Any = Slow()
    with pytest.raises(CallTimeout):
        walk(guest, "/")


def test_the_timeout_ends_what_is_read_directory_by_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    guest: Any = Guest()
    monkeypatch.setattr(trees, "monotonic", lambda: float(len(guest.looked_at)))
    in_vain = len(guest.below)  # the damaged one is the last
    files, unread = walk(guest, "/", ends=in_vain + 2)
    assert [file.path for file in files] == ["/a", "/b", "/d.egg-info", "/a/x", "/a/y"]
    assert unread == dict.fromkeys(["/a/y", "/b"], "the time is over (timeout)")


# What people see of it.


def test_a_damaged_directory_is_a_gap_of_a_bill_of_materials() -> None:
    guest: Any = Guest()
    found = find_packages(guest)
    assert [package.name for package in found.packages] == ["d"]
    assert found.gaps == (REASON,)


def test_files_below_a_damaged_directory_were_removed_or_added() -> None:
    guest: Any = Guest()
    other: Any = Guest([*PATHS, "/b/new"], damaged=())
    for guests, side in (((guest, other), "first"), ((other, guest), "second")):
        compared = diff_files(*guests)
        assert [change.name for change in compared.changes] == ["/b/new"]
        assert compared.unknown == (f"{side}: {REASON}",)


@pytest.mark.parametrize(
    ("words", "last"),
    [
        (["ls", "-R", "a.img"], "b/c"),
        (["ls", "-R", "--json", "a.img"], "]"),
        (["shell", "a.img", "-c", "ls -R /"], "b/c"),
        (["shell", "a.img", "-c", "find"], "/b/c"),
    ],
    ids=["ls", "json", "shell ls", "find"],
)
def test_a_listing_without_a_damaged_directory_has_status_1(
    words: list[str], last: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @contextlib.contextmanager
    def opened(*_: object, **__: object) -> Iterator[Guest]:
        yield Guest()

    for command in (guestkit.cli.ls, guestkit.cli.shell):
        monkeypatch.setattr(command, "opened_guest", opened)
    assert main([*words, "-q"]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == last
    assert err == f"guestkit: warning: {REASON}\n"
