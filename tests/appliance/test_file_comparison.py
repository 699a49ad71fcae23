"""The files of two guests compared: both are overlays of the demo guest, and one is changed."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import guestkit.file_comparison
from guestkit import Guestfs, diff_files, file_comparison, open_guest
from guestkit.cli import main
from guestkit.comparison import json_schema
from guestkit.errors import Error
from guestkit.generated.values import PartFailure
from guestkit.guest import GuestArguments
from tests import schemas

LINES = [f"line {number}" for number in range(1000)]
SAME = b"x" * 100


@pytest.fixture(scope="module")
def guests(demo_guest: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Guestfs, Guestfs]]:
    folder = tmp_path_factory.mktemp("guests")
    with contextlib.ExitStack() as stack:
        opened = []
        for name in ("before", "after"):
            disk = folder / f"{name}.qcow2"
            command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(demo_guest), "-F", "raw"]
            subprocess.run([*command, str(disk)], check=True)
            options: dict[str, Any] = {"readonly": False, "format": "qcow2", "backing": "allow"}
            opened.append(stack.enter_context(open_guest(disk, **options)))
        before, after = opened
        _write(before, after)
        yield before, after


def _write(before: Guestfs, after: Guestfs) -> None:
    """Write what both have into /same, and what differs into /other."""
    for g in (before, after):
        g.mkdir("/same")
        g.mkdir("/other")
        g.mkfifo(0o644, "/same/fifo")  # whoever reads it waits for ever
        g.ln_s("/nowhere", "/same/link")
        for number in range(10):
            g.write(f"/same/{number}", SAME)
        g.touch("/same/large")
        g.truncate_size("/same/large", 5 << 30)
        for name in NAMES:
            g.write(b"/other/" + name, SAME if g is before else SAME[::-1].replace(b"x", b"y"))
        g.write("/other/mode", SAME)
        g.write("/other/owner", SAME)
        g.write("/other/size", SAME if g is before else SAME * 2)
        g.write("/other/binary", b"\0\1" if g is before else b"\0\2")
        text = "\n".join(LINES) if g is before else "\n".join([*LINES[:500], "new \x1b[2J", *LINES[501:]])
        g.write("/other/text", text.encode() + b"\n")
    before.write("/other/kind", b"file")
    before.ln_s("/a", "/other/target")
    before.write("/other/removed", SAME)
    after.chmod(0o4755, "/other/mode")
    after.chown(5, 6, "/other/owner")
    after.mkdir("/other/kind")
    after.ln_s("/b", "/other/target")
    after.mknod_c(0o600, 1, 3, "/other/added")


#: Names that sha256sum escapes, or that are no UTF-8.
NAMES = (b"new\nline", b"back\\slash", b"no utf-8 \xff", b"both\\n\n", b"\x1b[2J", b" blank ")

EXPECTED = {
    ("/other/added", "", None, "character device, 0600, 0:0"),
    ("/other/binary", "content"),
    *((f"/other/{name.decode(errors='surrogateescape')}", "content") for name in NAMES),
    ("/other/kind", "type", "file", "directory"),
    ("/other/mode", "mode", "0644", "4755"),
    ("/other/owner", "owner", "0:0", "5:6"),
    ("/other/removed", "", "file, 0644, 0:0, 100", None),
    ("/other/size", "size", "100", "200"),
    ("/other/target", "target", "/a", "/b"),
    ("/other/text", "content"),
}
LARGE = "/same/large: its content, 5368709120 bytes, is too large to be read"


@pytest.mark.parametrize(
    ("glob", "names"),
    [
        ("/other/mod?", {"/other/mode"}),
        ("/other/mode", {"/other/mode"}),
        ("*/mode", {"/other/mode"}),
        ("/same/[0-9]", set()),
        ("/oth*/new\nline", {"/other/new\nline"}),
    ],
)
def test_a_glob_chooses(guests: tuple[Guestfs, Guestfs], glob: str, names: set[str]) -> None:
    compared = diff_files(*guests, glob=glob)
    assert {change.name for change in compared.changes} == names
    assert compared.unknown == ()


def test_a_directory_that_one_guest_lacks_is_a_difference(guests: tuple[Guestfs, Guestfs]) -> None:
    guests[1].mkdir("/only")
    guests[1].write("/only/here", SAME)
    try:
        compared = diff_files(*guests, glob="/only/*")
    finally:
        guests[1].rm_rf("/only")
    assert [(change.name, change.before) for change in compared.changes] == [("/only/here", None)]
    assert diff_files(*guests, glob="/none/*").changes == ()


def test_the_appliance_s_files_were_compared_in_place_of_the_guests(guests: tuple[Guestfs, Guestfs]) -> None:
    """Regression: an absolute symlink on the way to the files led to the appliance's own, which are alike."""
    found = guests[0].debug("sh", ["find /usr/lib -maxdepth 2 -type f | head -5"]).split()
    folders = {os.path.dirname(path) for path in found}
    assert len(found) == 5
    for g, content in zip(guests, (SAME, SAME[::-1].replace(b"x", b"y")), strict=True):
        g.ln_s("/", "/up")
        for folder in folders:
            g.mkdir_p(folder)
        for path in found:
            g.write(path, content)
    try:
        compared = diff_files(*guests, glob="/up/usr/lib/*")
    finally:
        for g in guests:
            for path in (*found, "/up"):
                g.rm(path)
    assert {change.name for change in compared.changes} == {f"/up{path}" for path in found}
    assert compared.unknown == ()


def test_a_glob_that_matches_nothing_does_not_look_like_no_difference(
    served: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", "--glob", "other/*", "a", "b"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "guestkit: error: not compared: no file of either guest matches 'other/*': it is of whole paths,"
        " which begin with /\n"
    )


def test_lines_of_text(guests: tuple[Guestfs, Guestfs], monkeypatch: pytest.MonkeyPatch) -> None:
    def texts() -> dict[str, Sequence[str]]:
        changes = diff_files(*guests, glob="/other/*", text=True).changes
        return {change.name: change.text for change in changes if change.text}

    shown = texts()
    assert shown["/other/text"] == (
        "@@ -498,7 +498,7 @@",
        *(f" line {number}" for number in (497, 498, 499)),
        "-line 500",
        "+new \x1b[2J",
        *(f" line {number}" for number in (501, 502, 503)),
    )
    assert shown["/other/new\nline"] == (
        "@@ -1 +1 @@", f"-{'x' * 100}", "\\ No newline at end of file",
        f"+{'y' * 100}", "\\ No newline at end of file",
    )  # fmt: skip
    assert "/other/binary" not in shown
    monkeypatch.setattr(file_comparison, "LARGEST_TEXT", 5000)
    assert set(shown) - set(texts()) == {"/other/text"}


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        (b"a\n", b"a", ["@@ -1 +1 @@", "-a", "+a", "\\ No newline at end of file"]),
        (b"", b"a\n", ["@@ -0,0 +1 @@", "+a"]),
        (b"a\n@@ -1 +1 @@\n", b"a\n", ["@@ -1,2 +1 @@", " a", "-@@ -1 +1 @@"]),
        (b"a\r\n", b"a\n", ["@@ -1 +1 @@", "-a\r", "+a"]),
        (b"a\xff", b"b", []),
        (b"a\0", b"b", []),
        (b"a\n" * 1001, b"b\n" * 1001, []),
        (b"a\n" * 5000 + b"b\n", b"a\n" * 5000, ["@@ -4998,4 +4998,3 @@", " a", " a", " a", "-b"]),
    ],
)
def test_a_unified_diff(before: bytes, after: bytes, lines: list[str]) -> None:
    assert file_comparison._unified(*file_comparison._differing(before, after)) == tuple(lines)


class _Failing(SimpleNamespace):
    """A guest in which no directory can be read as a whole, and one file not at all."""

    def checksums_out(self, kind: str, directory: str, file: str) -> None:
        raise Error("checksums_out", "Input/output error", 5)

    def checksum(self, kind: str, path: str) -> str:
        if path == "/same/3":
            raise Error("checksum", f"{path}: Input/output error", 5)
        return str(self.g.checksum(kind, path))


def test_a_file_that_cannot_be_read_costs_itself(guests: tuple[Guestfs, Guestfs]) -> None:
    g = guests[0]
    failing: Any = _Failing(g=g, walk=g.walk, is_dir=g.is_dir, lstatns=g.lstatns)
    compared = diff_files(failing, guests[1], glob="/same/[0-9]")
    assert compared.changes == ()
    assert compared.unknown == ("first: /same/3: its content is not compared: Input/output error",)


# ---- the command


@pytest.fixture
def served(guests: tuple[Guestfs, Guestfs], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Give the command these guests, launched as they are; return how it opened them."""
    asked: dict[str, Any] = {"failures": ()}
    waiting = list(guests)

    @contextlib.contextmanager
    def launched(arguments: GuestArguments) -> Iterator[Guestfs]:
        asked[str(arguments.guest)] = arguments.opening
        yield waiting.pop(0)

    def mount(g: object, **how: Any) -> Any:
        asked["mounts"] = how["mounts"]
        return SimpleNamespace(failures=asked["failures"])

    monkeypatch.setattr(guestkit.file_comparison, "launched", launched)
    monkeypatch.setattr("guestkit.guest.mount_guest", mount)
    return asked


def test_the_command_shows_rows_and_lines(served: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", "--glob", "/other/[mt]*", "--text", "a", "b"]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[1].split() == ["changed", "files", "/other/mode:", "mode", "0644", "4755"]
    assert "\n\n--- /other/text\n+++ /other/text\n@@ -498,7 +498,7 @@\n line 497\n" in out
    assert "\n-line 500\n+new \\x1b[2J\n" in out
    assert err == ""


def test_no_difference(served: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", "--glob", "/same/[0-9]", "a", "b"]) == 0
    assert capsys.readouterr() == ("", "")


def test_every_kind_of_difference(served: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", "--files", "--json", "a", "b"]) == 2
    out, err = capsys.readouterr()
    compared = json.loads(out)
    assert schemas.faults(compared, json_schema()) == []
    seen = {
        (one["name"], one["field"], *([] if one["field"] == "content" else [one["before"], one["after"]]))
        for one in compared["changes"]
    }
    assert seen == EXPECTED
    assert {(one["part"], *one["text"]) for one in compared["changes"]} == {("files",)}
    assert compared["unknown"] == [LARGE]
    assert err == f"guestkit: error: not compared: {LARGE}\n"


def test_the_two_disks_may_have_two_formats(served: Any) -> None:
    words = ["--format", "qcow2", "--before-format", "raw", "--backing", "allow"]
    assert main(["diff", "--glob", "/same/[0-9]", *words, "a", "b"]) == 0
    assert [served[disk].format for disk in "ab"] == ["raw", "qcow2"]


def test_two_snapshots_of_one_image(served: Any) -> None:
    words = ["--snapshot", "after", "--before-snapshot", "before"]
    assert main(["diff", "--glob", "/same/[0-9]", *words, "a", "b"]) == 0
    assert [served[disk].snapshot for disk in "ab"] == ["before", "after"]


def test_single_filesystems_are_compared(served: Any) -> None:
    words = ["-m", "sda2", "-m", "sda1:/boot"]
    assert main(["diff", "--glob", "/same/[0-9]", *words, "a", "b"]) == 0
    assert served["mounts"] == {"/": "sda2", "/boot": "sda1"}


def test_a_filesystem_that_is_not_mounted_is_trouble(served: Any, capsys: pytest.CaptureFixture[str]) -> None:
    served["failures"] = (PartFailure(part="mountpoints", message="/home: it broke", op="", errno=0),)
    assert main(["diff", "--glob", "/same/[0-9]", "a", "b"]) == 2
    assert "not compared: second: mountpoints: /home: it broke\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["--text"],
        ["--root", "/dev/sda1"],
        ["-m", "sda1"],
        ["--files", "--only", "users"],
        ["--files", "--cache"],  # this and the next had no effect
        ["--files", "--concurrency", "3"],
        ["--files", "-m", "sda1", "--root", "sda1"],
        ["--files", "--", "a"],
    ],
)
def test_wrong_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["diff", *words, *(["a", "b"] if "--" not in words else [])])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("guestkit: error: ")
