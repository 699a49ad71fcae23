"""What a hostile guest makes of a comparison of files: two guests that are dictionaries here."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import guestkit
from guestkit import Error, Key, diff_files, file_comparison
from guestkit.comparison import Comparison
from guestkit.files import GuestFile
from guestkit.generated.values import Mounted, PartFailure
from guestkit.guest import GuestArguments
from guestkit.handle_options import HandleOptions
from guestkit.opening import OpenDiskOptions

#: How many levels the guest below looks into.
DEEPEST = 256


class Guest:
    """A guest with these files, and the directories above them."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = files

    def is_dir(self, path: str) -> bool:
        return True

    def walk(self, directory: str) -> list[GuestFile]:
        facts: dict[str, Any] = {"mode": 0o644, "uid": 0, "gid": 0, "mtime": 0, "target": ""}
        below = {os.path.dirname(path) for path in self.files}
        folders = {str(one) for path in below for one in (Path(path), *Path(path).parents)} - {"/"}
        listed = [
            *(
                GuestFile(path=path, kind="d", size=4096, not_entered=path.count("/") > DEEPEST, **facts)
                for path in sorted(folders)
            ),
            *(GuestFile(path=path, kind="-", size=len(text), **facts) for path, text in self.files.items()),
        ]
        return [file for file in listed if file.path.count("/") <= DEEPEST + 1]

    def read_files(self, paths: Iterable[str], *, limit: int) -> dict[str, bytes]:
        return {path: self.files[path] for path in paths}

    def checksum(self, kind: str, path: str) -> str:
        return os.path.basename(path)

    def checksums_out(self, kind: str, directory: str, target: str) -> None:
        start = len(directory.rstrip("/")) + 1
        names = (path[start:] for path in self.files if path.startswith(f"{directory.rstrip('/')}/"))
        Path(target).write_text("".join(f"{os.path.basename(name)}  ./{name}\n" for name in names))


def compared(before: Mapping[str, bytes], after: Mapping[str, bytes], **options: Any) -> Comparison:
    guests: Any = Guest(before), Guest(after)
    return diff_files(*guests, **options)


class Machines:
    """Two guests in place of those that are launched, and what was asked of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *guests: Guest) -> None:
        self.waiting: list[Any] = list(guests)
        self.open = 0
        self.opened: list[tuple[object, OpenDiskOptions, HandleOptions]] = []
        self.mounted: list[dict[str, Any]] = []
        monkeypatch.setattr(file_comparison, "launched", self.launched)
        monkeypatch.setattr("guestkit.guest.mount_guest", self.mount_guest)

    @contextlib.contextmanager
    def launched(self, asked: GuestArguments) -> Iterator[Any]:
        self.opened.append((asked.guest, asked.opening, asked.handle))
        asked.tell("starting the appliance")
        self.open += 1
        yield self.waiting.pop(0)
        self.open -= 1

    def mount_guest(self, g: Guest, *, step: Any, **how: Any) -> Mounted:
        self.mounted.append(how)
        failures = (PartFailure(part="mountpoints", message="/var: is damaged", errno=5, op="mount"),)
        return Mounted(
            root="/dev/sda1", mountpoints={}, system=None, failures=() if self.waiting else failures
        )


def test_two_guests_are_launched_mounted_and_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    machines = Machines(monkeypatch, Guest({"/etc/a": b"1", "/b": b"1"}), Guest({"/etc/a": b"22"}))
    key, steps = Key(passphrase="x"), list[str]()
    compared = guestkit.diff_guests(
        "one.img",
        ["two.img", "data.img"],
        glob="/etc/*",
        text=True,
        mounts={"/": "sda1"},
        keys=iter([key]),
        before={"snapshot": "old"},
        step=steps.append,
        snapshot="new",
        format="qcow2",
        call_timeout=5,
    )
    assert [(one.name, one.field, *one.text[1:2]) for one in compared.changes] == [("/etc/a", "size", "-1")]
    assert compared.unknown == ("second: mountpoints: /var: is damaged",)
    assert [
        (disk, how.snapshot, how.format, how.readonly, handle.call_timeout, handle.appliance)
        for disk, how, handle in machines.opened
    ] == [
        ("one.img", "old", "qcow2", True, 5, "inspection"),
        (["two.img", "data.img"], "new", "qcow2", True, 5, "inspection"),
    ]
    assert machines.mounted == [{"root": None, "mounts": {"/": "sda1"}, "readonly": True, "keys": (key,)}] * 2
    assert steps == ["one.img: starting the appliance", "two.img: starting the appliance", "comparing"]
    assert machines.open == 0


def test_a_guest_that_is_not_there_is_an_error_of_the_comparison() -> None:
    with pytest.raises(guestkit.Error, match=r"/nowhere\.img: no such file"):
        guestkit.diff_guests("/nowhere.img", "/nowhere.img")


@pytest.mark.parametrize("wrong", [{"readonly": False}, {"before": {"fromat": "raw"}}, {"sandbox": 3}])
def test_a_wrong_argument_is_refused_before_anything_is_opened(
    wrong: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines = Machines(monkeypatch)
    with pytest.raises((TypeError, ValueError), match=r"readonly|fromat|sandbox"):
        guestkit.diff_guests("one.img", "two.img", **wrong)
    assert machines.opened == []


def test_lines_of_many_files_took_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file was small enough; all together, what they cost had no end."""
    monkeypatch.setattr(file_comparison, "MOST_PAIRS", 2 * 100 * 99 + 1)
    before = {f"/{number}": b"x\ny\n" * 50 for number in range(4)} | {"/small": b"a\n"}
    after = {f"/{number}": b"x\nz\n" * 49 + b"z\n" for number in range(4)} | {"/small": b"bc\n"}
    found = compared(before, after, text=True)
    assert [change.name for change in found.changes if change.text] == ["/0", "/1", "/small"]
    reason = "its lines are not told: too many lines differ in all files"
    assert found.unknown == (f"/2: {reason}", f"/3: {reason}")


def test_texts_beyond_the_limit_of_all_were_left_out_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_comparison, "MOST_TEXT", 5)
    found = compared({"/a": b"a\n", "/b": b"b\n"}, {"/a": b"aa\n", "/b": b"bb\n"}, text=True)
    assert [change.name for change in found.changes if change.text] == ["/a"]
    assert found.unknown == ("/b: its lines are not told: more than 5 bytes of text",)


class Unreadable(Guest):
    """A guest of whose files only some can be read."""

    def checksums_out(self, kind: str, directory: str, target: str) -> None:
        raise Error("checksums_out", "Input/output error", errno.EIO)

    def checksum(self, kind: str, path: str) -> str:
        name = os.path.basename(path)
        if name.isdecimal():
            raise Error("checksum", f"{path}: Input/output error", errno.EIO)
        return name


def test_a_guest_chose_how_much_was_said_of_what_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: there was a sentence for each file that could not be read, up to a million."""
    monkeypatch.setattr(file_comparison, "LARGEST_FILE", 1)
    same = {f"/{number}": b"x" for number in range(150)}
    large = {f"/large{number:03}": b"xx" for number in range(150)}
    guests: Any = Unreadable(same | large), Guest(same | large)
    unknown = diff_files(*guests).unknown
    assert unknown[:100] == tuple(
        f"{path}: its content, 2 bytes, is too large to be read" for path in [*large][:100]
    )
    assert unknown[100] == "the contents of 50 more files are too large to be read"
    assert unknown[101] == "first: /0: its content is not compared: Input/output error"
    assert unknown[201:] == ("first: the contents of 50 more files are not compared: Input/output error",)


def test_a_guest_chose_how_much_was_said_of_lines_that_are_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, reason in (
        ("MOST_TEXT", "more than 0 bytes of text"),
        ("MOST_PAIRS", "too many lines differ in all files"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(file_comparison, limit, 0)
            before, after = ({f"/{number}": text for number in range(150)} for text in (b"a\n", b"bb\n"))
            unknown = compared(before, after, text=True).unknown
        assert unknown[0] == f"/0: its lines are not told: {reason}"
        assert unknown[100:] == (f"the lines of 50 more files are not told: {reason}",)


def test_each_file_was_counted_for_each_directory_above_it() -> None:
    def seconds(depth: int) -> float:
        files = {f"{'/d' * depth}/{number}": b"x" for number in range(2000)}
        reader = file_comparison._Reader(
            guest := Guest(files),  # type: ignore[arg-type]
            {file.path: file for file in guest.walk("/")},
            (),
            "first",
            [],
        )
        begun = time.process_time()
        digests = reader.digests("/", files.keys())
        assert len(digests) == len(files)
        return time.process_time() - begun

    assert min(seconds(250) for _ in range(3)) < 8 * min(seconds(1) for _ in range(3))


def test_a_name_with_a_slash_hung_the_comparison() -> None:
    """Above "//x" os.path.dirname finds "//" for ever. That one is in no hidden directory."""
    facts: Any = {"size": 0, "mode": 0o755, "uid": 0, "gid": 0, "mtime": 0, "target": ""}
    paths = {"/d": True, "/d/e": False, "/d/e/f": False, "//x": False}
    files = {path: GuestFile(path=path, kind="d", not_entered=out, **facts) for path, out in paths.items()}
    assert set(file_comparison._not_below(files, {"/d"})) == {"/d", "//x"}


def test_files_that_lie_too_deep_were_no_difference() -> None:
    deep = "/d" * (DEEPEST + 1)
    same = {f"{'/d' * DEEPEST}/file": b"x"}
    found = compared(same, {f"{deep}/file": b"x"})
    assert f"second: {deep}: too deep: what is in there is not looked at" in found.unknown
    assert compared(same, same).unknown == ()


def test_what_lies_too_deep_to_be_known_was_read_all_the_same() -> None:
    """A sparse file down there, of any size, was read for minutes."""
    read: list[str] = []

    class Telling(Guest):
        def checksums_out(self, kind: str, directory: str, target: str) -> None:
            read.append(directory)
            super().checksums_out(kind, directory, target)

    files = {f"/top{deeper}/{number}": b"x" for deeper in ("", "/deep") for number in range(10)}
    files |= {f"/beside/{number}": b"x" for number in range(10)}
    files["/top" + "/d" * 300 + "/sparse"] = b"x"
    guests: Any = Telling(files), Telling(files)
    found = diff_files(*guests)
    assert (found.changes, sorted(read)) == ((), sorted(["/beside", "/top/deep"] * 2))
