"""The shell in a real guest that attacks it. Most tests share one appliance; the disk is written to."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import guestkit.cli.guests
from guestkit import Guestfs, open_guest
from guestkit.cli import main
from guestkit.cli.screen import Screen
from guestkit.cli.shell.completion import candidates
from guestkit.cli.shell.running import run_line
from guestkit.cli.shell.session import Session
from guestkit.reading import lstat
from tests.images import hostile
from tests.images.corpus import ROOT_UUID, Part, _make
from tests.images.trees import Fifo
from tests.terminal import Terminal


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shell") / "hostile.img"
    tree = {**hostile.tree(), "srv/fifo": Fifo(), "srv/a b": b"blank\n", "data": None}
    _make([Part(tree, uuid=ROOT_UUID, label="\x1b[31mlabel", size=48 << 20)], path)
    return path


@pytest.fixture(scope="module")
def g(disk: Path) -> Iterator[Guestfs]:
    with open_guest(disk, readonly=False, format="raw") as handle:
        yield handle


class Said(NamedTuple):
    status: int
    out: str
    err: str


Shell = Callable[[str], Said]


@pytest.fixture
def shell(g: Guestfs, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Shell:
    """Run commands by -c in the shared guest."""

    @contextmanager
    def opened(disk: list[str], **options: Any) -> Iterator[Guestfs]:
        yield g

    monkeypatch.setattr(guestkit.cli.guests, "open_guest", opened)

    def shell(script: str) -> Said:
        status = main(["shell", "--rw", "--format", "raw", "disk", "-c", script])
        return Said(status, *(text.decode() for text in capfdbinary.readouterr()))

    return shell


@pytest.fixture
def session(g: Guestfs) -> Session:
    """The shell as if somebody typed."""

    @contextmanager
    def opened() -> Iterator[Guestfs]:
        yield g

    session = Session(opened, Screen(), writable=True, interactive=True)
    session.open()
    return session


def is_safe(text: str) -> bool:
    return all(line.isprintable() for line in text.replace("\t", "").split("\n"))


# ---- looking


def test_paths_are_relative_to_the_current_directory(shell: Shell) -> None:
    said = shell("cd srv; pwd; cat 'a b'; cd ../etc; ls hostname; cd -; pwd; find -name 'a *'; ls -l fifo")
    *lines, fifo = said.out.splitlines()
    assert said.status == 0, said.err
    assert lines == ["/srv", "blank", "/etc/hostname", "/srv", "/srv/a b"]
    assert fifo.startswith("prw-")


def test_wildcards_are_the_guests(shell: Shell) -> None:
    assert shell("cat /srv/a?b").out == "blank\n"
    assert (
        shell("cd srv; cat '/srv/a?b'").err == "guestkit: error: cat: /srv/a?b: No such file or directory\n"
    )


def test_stat_and_df(shell: Shell) -> None:
    said = shell("stat /srv/out '/srv/a b'; df -h")
    assert "target    ../../../../../../../../etc/passwd\n" in said.out
    assert "type      symlink\n" in said.out
    assert "mode      0644 -rw-r--r--\n" in said.out
    assert said.out.split("\n")[-2].split()[0] == "/dev/sda1"


HOSTILE_ANSWERS = (
    "ls -lR /srv",
    "stat /srv/*",
    "readdir /srv",
    "lstatnslist /srv 'link out'",
    "readlink /srv/link",
    "read-file /srv/text",
    "cd /srv/*owned*",
    "vfs_label /dev/sda1",
    "call ls /srv",
)


def test_nothing_that_a_guest_says_reaches_the_terminal_as_it_is(session: Session, capsys: Any) -> None:
    for line in HOSTILE_ANSWERS:
        run_line(session, line)
        told = capsys.readouterr()
        assert told.out + told.err, line
        assert is_safe(told.out + told.err), line


def test_each_hostile_name_can_be_completed_and_read(
    session: Session, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    found = [one for one in candidates(session, "cat /srv/") if not one.shown.endswith("/")]
    assert len(found) == 8
    assert all(is_safe(one.text + one.shown) for one in found)
    read = 0
    capfdbinary.readouterr()
    for one in found:
        run_line(session, f"cat {one.text}")
        told = capfdbinary.readouterr()
        refused = ("fifo" in one.text, "link" in one.text)
        assert any(refused) == bool(told.err), told.err
        read += bool(told.out)
    assert read == 6


@pytest.mark.parametrize("command", ["cat", "less", "read-file", "edit", "cp /srv/fifo"])
def test_a_fifo_is_not_opened(shell: Shell, command: str) -> None:
    said = shell(f"{command} /srv/fifo")
    assert said.status == 1
    assert "/srv/fifo: a FIFO, which is not opened" in said.err


def test_a_long_file_is_shown_by_the_pager_in_parts(
    session: Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pager = tmp_path / "pager"
    pager.write_text("#!/bin/sh\nhead -c 300\necho\necho secure=$LESSSECURE\n")
    pager.chmod(0o755)
    monkeypatch.setenv("PAGER", str(pager))
    monkeypatch.setattr(Screen, "is_terminal", property(lambda screen: True))
    session.g.write("/data/long", hostile.ATTACK.encode() + b"text " * (1 << 19))
    session.g.truncate_size("/data/long", 1 << 40)
    run_line(session, "cat /data/long")
    out = capfd.readouterr().out
    assert out.startswith(hostile.ESCAPED)
    assert out.endswith("secure=1\n")
    run_line(session, "rm /data/long; cat '/srv/a b'")
    assert capfd.readouterr().out == "blank\n"


def test_what_an_action_returns_as_a_whole_is_bounded(shell: Shell) -> None:
    said = shell("write /data/long ''; truncate_size /data/long 1T; read-file /data/long")
    assert said.status == 1
    assert "/data/long: has 1099511627776 bytes: less shows it" in said.err
    assert shell("rm /data/long").status == 0


# ---- host and guest


def test_get_and_put(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "one").write_text("1\n")
    said = shell(
        f"put {tmp_path}/one /data; put {tmp_path}/one /data/two; get /data/one /data/two {tmp_path}"
    )
    assert said.status == 1
    assert f"get: {tmp_path}/one: is there already; --force replaces it" in said.err
    assert shell(f"get -f /data/one /data/two {tmp_path}; rm /data/*").status == 0
    assert (tmp_path / "two").read_text() == "1\n"


def test_get_follows_no_symlink_of_the_guest_on_this_host(shell: Shell, tmp_path: Path) -> None:
    said = shell(f"get -r /srv {tmp_path}")
    assert said.status == 1
    assert "not copied" in said.err
    assert is_safe(said.err)
    assert not (tmp_path / "srv" / "out").exists()


# ---- changing


def test_files_are_made_copied_moved_linked_and_removed(shell: Shell, g: Guestfs) -> None:
    said = shell(
        "cd /data; mkdir -p a/b; mkdir -p a/b; write a/file content; cp a/file a/copy; cp -r a 'b c';"
        "mv 'b c'/copy moved; mv moved a; ln a/file hard; ln -s nowhere soft; ln -sf a soft; ls; ls -R a"
    )
    assert said.status == 0, said.err
    assert said.out.split() == ["a", "b", "c", "hard", "soft", "b", "copy", "file", "moved"]
    assert g.lstatns("/data/hard")["st_nlink"] == 2
    assert g.readlink("/data/soft") == "a"
    assert "which rm -r removes" in shell("rm /data/a").err
    assert "is not copied into itself" in shell("cp -r /data/a /data/a/b").err
    assert "which cp -r copies" in shell("cp /data/a /data/x").err
    assert "Not a directory" in shell("mv /data/a /data/hard /data/none").err
    assert "File exists" in shell("ln -s x /data/soft2; ln -s x /data/soft2").err
    assert "No such file" in shell("rm /data/none").err
    assert shell("rm -f /data/none; rm -r /data/*; ls /data").out == ""


def test_a_link_is_made_in_the_guest_whatever_symlinks_say(shell: Shell, g: Guestfs) -> None:
    """libguestfs' own ln_s follows an absolute symlink to a directory out of the guest."""
    g.mkdir_p("/data/etc")
    assert (
        shell("ln -s /data/etc /data/way; ln -s target /data/way/new; ln /etc/hostname /data/way/hard").status
        == 0
    )
    assert sorted(g.ls("/data/etc")) == ["hard", "new"]
    said = shell("cp -r /srv/directory /data/way/copy; ls /data/etc/copy")
    assert said.out == "$(touch owned)\n", said.err
    assert "is not copied into itself" in shell("cp -r /data/etc /data/way/copy/copy").err
    assert shell("rm -r /data/*").status == 0


def test_ln_f_of_a_file_over_itself_deleted_it(shell: Shell, g: Guestfs) -> None:
    shell("mkdir /data/in; write /data/f kept; ln -s /data/f /data/link")
    for command in ("ln -f f /data", "ln -sf /data/f .", "ln -f link f", "ln -sf in/../link f"):
        said = shell(f"cd /data; {command}")
        assert (said.status, "the same file" in said.err) == (1, True), command
    assert g.read_file("/data/f") == b"kept"
    assert shell("cd /data; ln -sf f link2; ln -sf link2 link; ln -f f link2; cat link").out == "kept"
    assert sorted(g.ls("/data")) == ["f", "in", "link", "link2"]
    assert shell("rm -r /data/*").status == 0


def test_mv_put_a_directory_one_level_too_deep(shell: Shell, g: Guestfs) -> None:
    shell("mkdir -p /data/x/new /data/to/x; mv /data/x /data/to")
    assert g.ls("/data/to/x") == ["new"]
    shell("mkdir /data/x")
    assert "Directory not empty" in shell("mv /data/x /data/to").err
    assert sorted(g.ls("/data")) == ["to", "x"]
    assert shell("rm -r /data/*").status == 0


@pytest.mark.parametrize("command", ["cp", "cp -r", "mv"])
def test_a_file_replaced_another_of_the_same_command(shell: Shell, g: Guestfs, command: str) -> None:
    shell("mkdir -p /data/a /data/b /data/to; write /data/a/f a; write /data/b/f b")
    assert "/data/to/f: several files would get this name" in shell(f"{command} /data/*/f /data/to").err
    assert g.ls("/data/to") == []
    assert shell("rm -r /data/*").status == 0


def test_owners_are_numbers_or_the_guests_names(shell: Shell, g: Guestfs) -> None:
    said = shell(
        "write /etc/passwd $'root:x:0:0::/:\\nweb:x:33:34::/:\\n'; write /etc/group $'staff:x:50:\\n';"
        "write /data/f x; chown web:staff /data/f; chmod u+s,g-r /data/f; chmod -x /data/f;"
        "chown :7 /data/f; stat /data/f"
    )
    assert "owner     33:7\n" in said.out
    seen = g.statns("/data/f")
    assert (seen["st_uid"], seen["st_gid"]) == (33, 7)
    assert "/etc/passwd: nobody is named 'nobody'" in shell("chown nobody /data/f").err
    assert shell("chown : /data/f").status == 2
    assert shell("rm /data/f").status == 0


EDITOR = """#!/bin/sh
stat -c '%a %h' "$1" "$(dirname "$1")" > told
echo "${1##*/}" >> told
printf %s "$TYPED" >> "$1"
exit ${STATUS:-0}
"""


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An editor that adds $TYPED; return the file in which it tells what it saw."""
    program = tmp_path / "editor"
    program.write_text(EDITOR)
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VISUAL", str(program))
    monkeypatch.setenv("TYPED", "typed\n")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / "told"


def left(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith("guestkit-edit-")]


def test_an_edited_file_keeps_its_mode_owner_and_label(shell: Shell, g: Guestfs, editor: Path) -> None:
    shell("write /data/f $'old\\n'; chown 33:34 /data/f; chmod 4750 /data/f; ln -s f /data/link")
    g.lsetxattr("user.label", "kept", 4, "/data/f")
    assert shell("edit /data/link").status == 0
    seen = g.lstatns("/data/f")
    assert g.read_file("/data/f") == b"old\ntyped\n"
    assert (seen["st_uid"], seen["st_gid"], oct(stat.S_IMODE(seen["st_mode"]))) == (33, 34, "0o4750")
    assert g.lgetxattr("/data/f", "user.label") == b"kept"
    assert g.is_symlink("/data/link")
    assert sorted(g.ls("/data")) == ["f", "link"]
    assert editor.read_text().split("\n")[:2] == ["600 1", "700 2"]  # nobody else on this host can read it
    assert left(editor.parent) == []
    assert shell("rm /data/*").status == 0


def test_an_edit_that_could_not_replace_the_file_left_another_beside_it(
    shell: Shell, g: Guestfs, editor: Path
) -> None:
    shell("write /data/f old")
    g.set_e2attrs("/data/f", "i")  # nobody may replace it
    try:
        said = shell("edit /data/f")
        assert "your text is in" in said.err
        assert g.ls("/data") == ["f"]
    finally:
        g.set_e2attrs("/data/f", "i", clear=True)
    assert g.read_file("/data/f") == b"old"
    assert shell("rm /data/f").status == 0


def test_an_edited_file_with_other_names_says_that_they_keep_the_old(shell: Shell, editor: Path) -> None:
    said = shell("write /data/f x; ln /data/f /data/g; edit /data/f; cat /data/g; rm /data/*")
    assert (said.status, said.out) == (0, "x")
    assert "its other names (hard links) keep the old content" in said.err


def test_a_file_that_was_not_changed_is_not_written(
    shell: Shell, g: Guestfs, editor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell("write /data/f x")
    before = lstat(g, "/data/f")
    monkeypatch.setenv("TYPED", "")
    said = shell("edit /data/f; edit /data/none")
    assert (said.status, said.err.count("not changed")) == (0, 2)
    assert lstat(g, "/data/f") == before
    monkeypatch.setenv("TYPED", "changed")
    monkeypatch.setenv("STATUS", "3")
    said = shell("edit /data/f")
    assert said.status == 1
    assert "not changed: the editor ended with status 3" in said.err
    assert lstat(g, "/data/f") == before
    assert left(editor.parent) == []
    assert shell("rm /data/f").status == 0


def test_a_new_file_is_made_by_edit_and_a_hostile_name_is_none_on_this_host(
    shell: Shell, g: Guestfs, editor: Path
) -> None:
    assert shell("edit $'/data/-x\\x1b;$(touch owned)\\xff.conf'").status == 0
    assert g.read_file(os.fsdecode(b"/data/-x\x1b;$(touch owned)\xff.conf")) == b"typed\n"
    name = editor.read_text().split("\n")[2]
    assert name == "_-x____touch_owned__.conf"
    assert not (editor.parent / "owned").exists()
    assert shell("rm /data/*").status == 0


def test_what_cannot_be_written_back_stays_on_this_host(
    shell: Shell, editor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell("write /data/f x")

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device", "/data/f")

    with monkeypatch.context() as patch:
        patch.setattr("guestkit._operations.write", full)
        said = shell("edit /data/f")
    assert said.status == 1
    (folder,) = left(editor.parent)
    assert f"No space left on device: your text is in {editor.parent}/{folder}/f" in said.err
    assert (editor.parent / folder / "f").read_text() == "xtyped\n"
    assert shell("ls /data; rm /data/f").out == "f\n"


# ---- a terminal


@contextmanager
def typing(folder: Path, *words: str) -> Iterator[Terminal]:
    """A shell in a terminal that tells of every call when it begins."""
    with Terminal(
        ["-m", "guestkit", "shell", "-vv", *words],
        cwd=folder,
        environment={"XDG_STATE_HOME": str(folder)},
    ) as terminal:
        terminal.until("disk.img:/")
        terminal.until("Ctrl-D leaves")
        yield terminal


@pytest.mark.full
def test_ctrl_c_ends_the_call_and_not_the_shell(demo_guest: Path, tmp_path: Path) -> None:
    shutil.copyfile(demo_guest, tmp_path / "disk.img")
    with typing(tmp_path, "disk.img") as terminal:
        terminal.send("cd etc; sleep 900\r")
        terminal.until("trace: sleep 900")
        terminal.send("\x03")
        terminal.until("the next command opens the disk anew")
        terminal.send("cat hostname\r")
        terminal.until("\nguestkit-demo\n")
        terminal.send("\x04")
        assert terminal.end() == 0


@pytest.mark.full
def test_ctrl_c_ends_a_transfer_alone_and_a_writers_call_at_the_second_time(
    demo_guest: Path, tmp_path: Path
) -> None:
    shutil.copyfile(demo_guest, tmp_path / "disk.img")
    with typing(tmp_path, "--rw", "--format", "raw", "disk.img") as terminal:
        terminal.send("mkdir /new; write /new/long ''; truncate_size /new/long 8G; get /new/long long\r")
        terminal.until('trace: pread "/new/long"')
        terminal.send("\x03")
        terminal.until("guestkit: interrupted")
        assert "opens the disk anew" not in terminal.screen()
        terminal.send("rm /new/long; sync; sleep 900\r")
        terminal.until("trace: sleep 900")
        terminal.send("\x03")
        terminal.until("waiting ten seconds")
        terminal.send("\x03")
        terminal.until("the next command opens the disk anew")
        terminal.send("ls -l / \r")
        terminal.until(" new\n")
        terminal.send("exit\r")
        assert terminal.end() == 0
    assert not (tmp_path / "long").exists()
