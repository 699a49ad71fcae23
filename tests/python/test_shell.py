"""The shell without a guest: what is typed, what it means, what is completed, what is kept."""

from __future__ import annotations

import argparse
import errno
import io
import os
import signal
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import guestkit.cli.guests
from guestkit import ApplianceKilled, Error, Guestfs
from guestkit.cli import main
from guestkit.cli.ending import Terminated, ended_by_signals, notes
from guestkit.cli.screen import Screen
from guestkit.cli.shell import actions, editing, paging
from guestkit.cli.shell.changing import mode_change
from guestkit.cli.shell.completion import candidates
from guestkit.cli.shell.helping import COMMANDS, manual, overview
from guestkit.cli.shell.parsing import Unfinished, commands, quote, typed
from guestkit.cli.shell.prompt import history, history_file
from guestkit.cli.shell.running import run_line
from guestkit.cli.shell.session import Session
from guestkit.cli.usage import UsageError
from guestkit.files import MAX_BYTES, Extracted, GuestFile
from guestkit.generated.arguments import ARGUMENTS

# ---- words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" ;; # nothing", []),
        ("ls -l /etc; pwd", [["ls", "-l", "/etc"], ["pwd"]]),
        ("ls # what is there\npwd", [["ls"], ["pwd"]]),
        ("cat a#b", [["cat", "a#b"]]),
        (r"""cat 'a b' "c \"d\" \n" e\ f ''""", [["cat", "a b", r'c "d" \n', "e f", ""]]),
        ("write /x 'a;b'", [["write", "/x", "a;b"]]),
        (r"cat $'\x1b\xff\303\244\n\'' $x", [["cat", "\x1b\udcffä\n'", "$x"]]),
    ],
)
def test_words(text: str, words: list[list[str]]) -> None:
    assert commands(text) == words


@pytest.mark.parametrize("blank", "\xa0\u3000\x85\u2028\x1c")
def test_a_blank_that_separates_no_words_was_an_open_quote(blank: str) -> None:
    assert commands(f"cat a{blank}b {blank}") == [["cat", f"a{blank}b", blank]]
    assert typed(f"cat {blank}")[1] == blank


@pytest.mark.parametrize("text", ["cat 'a", 'cat "a', "cat a\\", "cat $'a"])
def test_an_open_quote_is_an_error(text: str) -> None:
    with pytest.raises(Unfinished, match="quote"):
        commands(text)


def test_only_wildcards_without_quotes_are_wildcards() -> None:
    (words,) = commands(r"""ls *.conf 'a*' b\* "[c]"d* plain""")
    assert [word.pattern for word in words] == ["", "*.conf", "", "", r"\[c\]d*", ""]


@pytest.mark.parametrize(
    "name",
    [
        "plain",
        "a b",
        "a'b",
        'a"b',
        "a\\b",
        "*?[x]",
        "#x",
        "a;b",
        "a\nb",
        "\x1b[31m",
        "\udcff'",
        "\u202e",
        "ü",
        "",
    ],
)
def test_a_quoted_name_is_that_name(name: str) -> None:
    assert commands(f"cat {quote(name)} end") == [["cat", name, "end"]]
    assert quote(name).isprintable()
    (words,) = commands(f"cat {quote(name)}")
    assert words[1].pattern == ""


def test_the_word_at_the_cursor() -> None:
    assert typed("ls; cat -n 'a b' /et") == (["cat", "-n", "a b"], "/et", 17)
    assert typed("cat ") == (["cat"], "", 4)
    assert typed("cat '/a b")[1] == "/a b"
    assert typed(r"cat $'/a\xff")[1] == "/a\udcff"


# ---- the guest that these tests know


class Guest:
    """Stands in for a launched handle with a few files."""

    FILES = ("/etc", "/etc/hosts", "/etc/host name", "/etc/\x1b[31m", "/-x", "/etc/.hidden")

    NUMBERS = (
        *("st_uid", "st_gid", "st_nlink", "st_ino"),
        *("st_mtime_sec", "st_ctime_sec", "st_atime_sec"),
    )

    def __init__(self) -> None:
        self.ready = True
        self.called: list[tuple[Any, ...]] = []

    def is_ready(self) -> bool:
        if not self.ready:
            raise ApplianceKilled("is_ready", "killed")
        return True

    def lstatns(self, path: str) -> dict[str, int]:
        directory = path in ("/", "/etc")
        if not directory and path not in self.FILES:
            raise Error("lstatns", f"{path}: No such file or directory", 2)
        mode = (stat.S_IFDIR if directory else stat.S_IFREG) | 0o644
        return {**dict.fromkeys(self.NUMBERS, 0), "st_mode": mode, "st_size": 10}

    statns = lstatns

    def is_dir(self, path: str, **options: bool) -> bool:
        return path in ("/", "/etc")

    def walk(self, path: str, **bounds: int) -> list[GuestFile]:
        top = path.rstrip("/") + "/"
        return [
            GuestFile(
                path=one,
                kind="d" if one == "/etc" else "-",
                size=0,
                mode=0o644,
                uid=0,
                gid=0,
                mtime=0,
                target="",
            )
            for one in self.FILES
            if one.startswith(top) and "/" not in one[len(top) :]
        ]

    def _walked(self, path: str, *_: int) -> list[GuestFile]:
        return self.walk(path)

    def list_devices(self) -> list[str]:
        return ["/dev/sda"]

    def list_partitions(self) -> list[str]:
        return ["/dev/sda1"]

    def lvs(self) -> list[str]:
        return []

    def list_filesystems(self) -> dict[str, str]:
        return {"/dev/sda1": "ext4"}

    def sleep(self, secs: int) -> None:
        self.ready = False
        raise KeyboardInterrupt

    def shutdown(self) -> None:
        self.ready = False

    def __getattr__(self, name: str) -> Any:
        if name not in ARGUMENTS:
            raise AttributeError(name)
        return lambda *words, **options: self.called.append((name, *words, options))


@pytest.fixture
def guest() -> Guest:
    return Guest()


@pytest.fixture
def session(guest: Guest) -> Session:
    @contextmanager
    def opened() -> Iterator[Guestfs]:
        yield guest if guest.ready else Guest()  # type: ignore[misc]

    session = Session(opened, Screen(), interactive=True)
    session.open()
    return session


# ---- completion


def completed(session: Session, line: str) -> list[str]:
    return [one.text for one in candidates(session, line)]


def test_commands_and_actions_are_completed(session: Session) -> None:
    assert completed(session, "pw") == ["pwd ", "pwrite ", "pwrite_device "]
    assert completed(session, "list-dev") == ["list-devices "]
    assert completed(session, "help chm") == ["chmod "]
    assert completed(session, "ls; call mount_l") == ["mount_local ", "mount_local_run ", "mount_loop "]
    assert completed(session, "ls --") == ["--long ", "--recursive ", "--human "]
    assert completed(session, "rm -") == ["-r ", "--recursive ", "-f ", "--force "]


def test_paths_of_the_guest_are_completed_as_they_have_to_be_typed(session: Session) -> None:
    assert completed(session, "cat /et") == ["/etc/"]
    assert completed(session, "cat /etc/h") == ["/etc/hosts ", r"/etc/host\ name "]
    assert completed(session, r"cat /etc/host\ ") == [r"/etc/host\ name "]
    assert completed(session, "cat '/etc/host ") == [r"/etc/host\ name "]
    assert completed(session, "checksum sha1 /etc/hosts") == ["/etc/hosts "]
    assert completed(session, "cd ") == ["etc/"]
    session.enter("etc")
    assert completed(session, "cat hos") == ["hosts ", r"host\ name "]
    assert completed(session, "cat ../-") == ["../-x "]
    session.enter("/")
    assert completed(session, "cat -- -") == []  # taken for an option
    assert completed(session, "cat ./-") == ["./-x "]


def test_a_hostile_name_is_completed_escaped(session: Session) -> None:
    (found,) = [one for one in candidates(session, "cat /etc/") if "1b" in one.text]
    assert found == (r"$'/etc/\x1b[31m' ", r"\x1b[31m", 4)
    assert completed(session, r"cat $'/etc/\x1b") == [found.text]


def test_what_an_action_takes_is_completed_by_its_kind(session: Session, tmp_path: Path) -> None:
    (tmp_path / "on host").touch()
    assert completed(session, f"upload {tmp_path}/on") == [rf"{tmp_path}/on\ host "]
    assert completed(session, "vfs_type /dev/") == ["/dev/sda1 "]
    assert completed(session, "blockdev_getsz /dev/sda1") == ["/dev/sda1 "]
    assert completed(session, "mkswap /dev/sda la") == ["label="]
    assert completed(session, "get /etc/hosts " + str(tmp_path)[:-1])
    assert completed(session, "nonsense /et") == []


def test_completion_is_silent_where_the_guest_is_gone_or_has_no_such_directory(session: Session) -> None:
    assert completed(session, "cat /none/") == []
    session.handle = None
    assert completed(session, "cat /et") == []


# ---- actions


def run(session: Session, line: str) -> None:
    run_line(session, line)


def test_arguments_are_taken_by_their_types(session: Session, guest: Guest) -> None:
    session.enter("etc")
    for line in (
        "mkdir_mode new 0755",
        "pread hosts 0x10 1K",
        "touch $'\\xff'",
        "write hosts 'a b'",
        "command 'echo \"a b\" #c'",
        "mkswap /dev/sda label=swap",
        "ntfsclone_in x /dev/sda; set_verbose yes",
        "upload ~ /etc/x",
        "set_append ''",
        "umount ../etc force=true lazyunmount=no",
        "mount-ro /dev/sda1 /",
    ):
        run(session, line)
    home = str(Path.home())
    assert guest.called == [
        ("mkdir_mode", "/etc/new", 0o755, {}),
        ("pread", "/etc/hosts", 16, 1024, {}),
        ("touch", "/etc/\udcff", {}),
        ("write", "/etc/hosts", b"a b", {}),
        ("command", ["echo", "a b", "#c"], {}),
        ("mkswap", "/dev/sda", {"label": "swap"}),
        ("ntfsclone_in", "x", "/dev/sda", {}),
        ("set_verbose", True, {}),
        ("upload", home, "/etc/x", {}),
        ("set_append", None, {}),
        ("umount", "/etc", {"force": True, "lazyunmount": False}),
        ("mount_ro", "/dev/sda1", "/", {}),
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("mount /dev/sda1", "mount: mountpoint is missing; usage: mount MOUNTABLE MOUNTPOINT"),
        ("sync now", "sync: 'now' is one argument too many; usage: sync"),
        ("umount / forc=true", "umount: 'forc=true' is one argument too many"),
        ("pread hosts many 0", "pread: count: a number, as 16, 0x10, 0644 or 1M, not 'many'"),
        ("umount / force=perhaps", "umount: force: true or false, not 'perhaps'"),
        ("read-file /etc", "/etc: Is a directory"),
        ("statsns", "there is no command 'statsns': did you mean"),
        ("call nothing", "call: there is no action 'nothing'"),
        ("ls -x", "ls: unrecognized arguments: -x; usage: ls"),
        ("rm /etc/hosts", "rm: the disk is opened read-only: guestkit shell --rw --format FORMAT writes"),
        ("call", "call: name an action, as in call ls /etc"),
        ("command 'echo \"a'", "in a list, a quote is not closed"),
        ("command 'echo a;b'", "a ; or line break is not quoted"),
        ("chmod -x /none", "chmod: the disk is opened read-only"),
        ("chmod u+z", "chmod: the following arguments are required: PATH"),
        ("nosuch", "there is no command 'nosuch': help lists what there is"),  # it was not meant for touch
        ("help nonsense", "help: 'nonsense' is no command, and no action tells of it"),
        ("cd hosts", "cd: /hosts: No such file or directory"),
        ("cd /etc/hosts", "cd: /etc/hosts: Not a directory"),
        ("cat /etc", "cat: /etc: Is a directory"),
    ],
)
def test_what_is_wrong_is_said(
    session: Session, capsys: pytest.CaptureFixture[str], line: str, said: str
) -> None:
    run(session, line)
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_key_is_asked_for(session: Session, guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "getpass", lambda prompt: f"typed at {prompt}")
    run(session, "luks_open /dev/sda - name")
    assert guest.called == [("luks_open", "/dev/sda", "typed at key: ", "name", {})]


@pytest.mark.parametrize(
    ("result", "lines"),
    [
        (None, []),
        (True, ["true"]),
        (5, ["5"]),
        ("", []),
        ("two\nlines\x1b\n", ["two", r"lines\x1b"]),
        (b"a\xff\t\x00", ["a\\xff\t\\x00"]),
        (["a\nb", "c"], [r"a\nb", "c"]),
        ({"key": "a\nb", "longer": 1, "st_spare1": 0}, [r"key:     a\nb", "longer:  1"]),
        ({}, []),
        ([], []),
        ([{"a": 1, "b": b"x\x1b"}, {"a": 22, "b": None}], ["a   b", r"1   x\x1b", "22  -"]),
    ],
)
def test_results_are_readable_and_escaped(result: Any, lines: list[str]) -> None:
    assert list(actions.shown(result)) == lines


def test_a_wide_table_is_shown_row_by_row() -> None:
    row = {f"c{number}": number for number in range(9)}
    shown = list(actions.shown([row, row]))
    assert shown.count("") == 1
    assert shown[:2] == ["c0:  0", "c1:  1"]


# ---- commands


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [
        ("0640", 0o777, 0o640),
        ("u+x", 0o644, 0o744),
        ("+x,g-r", 0o644, 0o715),
        ("a=r", 0o777, 0o444),
        ("u=rw,go=", 0o4755, 0o600),
        ("ug+s,+t", 0o755, 0o7755),
        ("u+X", 0o600, 0o600),
        ("u+X", stat.S_IFDIR | 0o600, 0o700),
    ],
)
def test_modes_are_those_of_chmod(text: str, before: int, after: int) -> None:
    assert oct(mode_change(text)(before)) == oct(after)


@pytest.mark.parametrize("text", ["", "9", "u+z", "x", "u+x,", "77777"])
def test_what_is_no_mode_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no mode"):
        mode_change(text)


def test_help_tells_of_every_command_and_of_the_action_that_it_hides() -> None:
    assert all(f"\n  {name} " in overview() for name in COMMANDS)
    assert "The action of that name: call ls" in manual("ls")
    about = manual("mount")
    assert "usage: mount MOUNTABLE MOUNTPOINT" in about
    assert "Mount a filesystem of the guest at a directory" in about
    assert about.endswith("https://libguestfs.org/guestfs.3.html#guestfs_mount\n")
    assert "mkfs_btrfs" in manual("btrfs")


def test_every_hidden_action_is_named_in_help() -> None:
    for name in COMMANDS:
        assert ("The action of that name" in manual(name)) == (name in ARGUMENTS)


def test_the_usage_was_full_of_escaped_colours(
    monkeypatch: pytest.MonkeyPatch, session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    """Regression: Python 3.14 colours what argparse writes."""
    init, format_usage = argparse.ArgumentParser.__init__, argparse.ArgumentParser.format_usage
    coloured: set[argparse.ArgumentParser] = set()

    def colouring(self: argparse.ArgumentParser, *, color: bool = True, **options: Any) -> None:
        init(self, **options)
        if color:
            coloured.add(self)

    def in_colours(self: argparse.ArgumentParser) -> str:
        return f"\x1b[1;34m{format_usage(self)}\x1b[0m" if self in coloured else format_usage(self)

    if sys.version_info < (3, 14):
        monkeypatch.setattr(argparse.ArgumentParser, "__init__", colouring)
        monkeypatch.setattr(argparse.ArgumentParser, "format_usage", in_colours)
        monkeypatch.setattr(sys, "version_info", (3, 14))
    monkeypatch.setenv("FORCE_COLOR", "1")
    run(session, "cd -x")
    assert "usage: cd [DIRECTORY]\n" in capsys.readouterr().err


# ---- the session


def test_ctrl_c_ends_the_command_and_the_next_one_opens_the_disk_anew(
    session: Session, guest: Guest, capsys: pytest.CaptureFixture[str]
) -> None:
    session.enter("etc")
    run(session, "sleep 9; pwd")
    told = capsys.readouterr()
    assert told.out == ""
    assert "interrupted" in told.err
    assert "the next command opens the disk anew" in told.err
    assert session.handle is None
    run(session, "stat-is-no-command; pwd")
    run(session, "ls; pwd")
    assert session.handle not in (None, guest)
    assert capsys.readouterr().out.endswith("host name\n\\x1b[31m\n.hidden\n/etc\n")


def test_what_may_be_lost_is_told_where_the_guest_is_written_to(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    session.writable = True
    run(session, "sleep 9")
    assert "what the guest had not yet written to the disk is lost" in capsys.readouterr().err


@pytest.mark.parametrize("writable", [True, False])
def test_lost_writes_were_no_error_where_no_command_met_the_end(
    session: Session, guest: Guest, writable: bool
) -> None:
    """The hypervisor is killed, a completion meets that and is silent, and the user leaves by Ctrl-D."""
    session.writable = writable
    guest.ready = False
    if not writable:
        session.__exit__(None, None, None)
        return
    with pytest.raises(Error, match=r"has ended; .* is lost") as lost:
        session.__exit__(None, None, None)
    assert lost.value.errno == errno.EIO


def test_after_shutdown_nothing_is_lost(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    session.writable = True
    run(session, "shutdown")
    session.__exit__(None, None, None)

    session.open()
    run(session, "shutdown; launch")
    with pytest.raises(Error, match="is lost"):
        session.__exit__(None, None, None)
    assert capsys.readouterr().err == ""


def test_what_a_program_in_the_guest_says_is_told(
    session: Session, guest: Guest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was called an input/output error, as libguestfs gives no number for it."""

    def full(old: str, new: str) -> None:
        raise Error("cp_a", "cp: No space left on device\x1b", 0)

    monkeypatch.setattr(guest, "cp_a", full, raising=False)
    session.writable = True
    run(session, "cp -r /etc/hosts /copy")
    assert capsys.readouterr().err == "guestkit: error: cp: cp_a: cp: No space left on device\\x1b\n"


# ---- edit


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A FIFO in which the script that is the editor, `tmp_path / "editor"`, tells its process."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(editing, "_content", lambda session, path: b"old")
    monkeypatch.setenv("VISUAL", f"sh {tmp_path}/editor")
    os.mkfifo(tmp_path / "begun")
    return tmp_path / "begun"


@pytest.mark.parametrize(
    ("script", "ends", "left"),
    [
        ("printf typed > $1; BEGUN; exec sleep 60", "editor", {"f": b"typed"}),
        ("printf typed > $1; BEGUN; exec sleep 60", "shell", {"f": b"typed"}),
        (
            "printf typed > $1; sh -c 'BEGUN; exec sleep 60'; exit",
            "editor",
            {"f": b"typed"},
        ),  # the editor's own shell tells it
        (
            "trap 'printf typed > $1.save; kill $!; exit 1' TERM; sleep 60 & BEGUN; wait",
            "shell",
            {"f": b"old", "f.save": b"typed"},
        ),
        ("BEGUN; exec sleep 60", "editor", {}),
        ("BEGUN; exec sleep 60", "shell", {}),
    ],
)
def test_a_signal_deleted_what_the_user_had_saved_in_edit(
    session: Session, tmp_path: Path, begun: Path, script: str, ends: str, left: dict[str, bytes]
) -> None:
    (tmp_path / "editor").write_text(script.replace("BEGUN", f"echo $$ > {begun}"))

    def end() -> None:
        editor = int(begun.read_text())
        os.kill(editor if ends == "editor" else os.getpid(), signal.SIGTERM)

    killing = threading.Thread(target=end, daemon=True)
    killing.start()
    with pytest.raises((Terminated, OSError)) as caught, ended_by_signals():
        editing.edit(session, "/f")
    killing.join()
    assert isinstance(caught.value, Terminated) == (ends == "shell")
    folders = list(tmp_path.glob("guestkit-edit-*"))
    assert {file.name: file.read_bytes() for folder in folders for file in folder.iterdir()} == left
    told = [f"your text is in {folders[0]}{'' if 'f.save' in left else '/f'}"] if left else []
    assert notes(caught.value) == told


def test_an_editor_that_ignores_sigterm_kept_guestkit_waiting(
    session: Session, tmp_path: Path, begun: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "PATIENCE", 0.1)
    (tmp_path / "editor").write_text(f"trap '' TERM; echo $$ > {begun}; exec sleep 60")

    def end() -> None:
        begun.read_text()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=end, daemon=True).start()
    before = time.monotonic()
    with pytest.raises(Terminated), ended_by_signals():
        editing.edit(session, "/f")
    assert time.monotonic() - before < 30


# ---- history


def test_the_history_is_the_users_alone_and_has_no_keys(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    kept = history(session)
    for line in (
        "ls /etc",
        "luks_open /dev/sda secret x",
        "pwd; call luks-open /dev/sda secret x",
        "cat \udcff",
        "'",
    ):
        kept.store_string(line)
    path = tmp_path / "guestkit" / "shell_history"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [line for line in path.read_text().splitlines() if line.startswith("+")] == ["+ls /etc"]
    path.chmod(0o644)
    assert list(history(session).load_history_strings()) == ["ls /etc"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_where_no_history_can_be_kept_it_is_told(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "guestkit").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert list(history(session).load_history_strings()) == []
    assert "what you type is not kept" in capsys.readouterr().err


def test_the_history_made_directories_as_the_umask_would_have_them(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / ".local" / "state"))
    before = os.umask(0o002)
    try:
        history(session)
    finally:
        os.umask(before)
    for folder in history_file().relative_to(tmp_path).parents[:-1]:
        assert stat.S_IMODE((tmp_path / folder).stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_shell_of_root_left_directories_in_the_users_home(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 12345, -1)
    monkeypatch.setenv("XDG_STATE_HOME", str(home / ".local" / "state"))
    assert list(history(session).load_history_strings()) == []
    assert f"what you type is not kept: {home} belongs to another user" in capsys.readouterr().err
    assert list(home.iterdir()) == []


# ---- the command


@pytest.fixture
def opened(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Let the command open the stand-in; return the options with which it did."""
    asked: dict[str, Any] = {}

    @contextmanager
    def opened(disk: list[str], **options: Any) -> Iterator[Guest]:
        asked.update(options)
        yield guest

    monkeypatch.setattr(guestkit.cli.guests, "open_guest", opened)
    return asked


def test_get_advised_an_option_that_it_did_not_have(
    session: Session, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    permitted = []

    def copy_out(*given: object, max_bytes: int = MAX_BYTES, **options: object) -> Extracted:
        permitted.append(max_bytes >> 30)
        raise Error("copy_out", "/etc/hosts: too much", errno.EFBIG, "too_large", "with max_bytes=")

    monkeypatch.setattr("guestkit.cli.shell.looking.copy_out", copy_out)
    run(session, "get /etc/hosts .")
    assert capsys.readouterr().err == "guestkit: error: get: /etc/hosts: too much; --max-gib N permits more\n"
    run(session, "get --max-gib 20 /etc/hosts .")
    assert permitted == [16, 20]
    run(session, "get --max-gib 0 /etc/hosts .")
    assert "--max-gib: from 1 to 1073741824, not 0" in capsys.readouterr().err
    assert "--max-gib " in completed(session, "get --m")
    found = completed(session, "get --max-gib 20 /etc/h")
    assert found == ["/etc/hosts ", r"/etc/host\ name "]  # 20 is no path
    assert completed(session, "get --max-gib /et") == []


def stdin(monkeypatch: pytest.MonkeyPatch, text: bytes, *, terminal: bool = False) -> None:
    stream = io.TextIOWrapper(io.BytesIO(text))
    monkeypatch.setattr(stream, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stdin", stream)


def test_a_script_ends_at_the_first_failure_with_its_status(
    opened: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["shell", "disk", "-c", "cd /none; pwd"]) == 1
    assert main(["shell", "disk", "-c", "nonsense; pwd"]) == 2
    assert main(["shell", "disk", "-c", "pwd; exit; cd /none"]) == 0
    assert capsys.readouterr().out == "/\n"
    assert main(["shell", "--keep-going", "disk", "-c", "cd /none; nonsense; pwd"]) == 1
    assert capsys.readouterr().out == "/\n"
    assert (opened["readonly"], opened["cancel_grace"]) == (True, 1.0)


def test_ctrl_c_ends_a_script(opened: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["shell", "--keep-going", "disk", "-c", "sleep 9; pwd"]) == 130
    assert capsys.readouterr() == ("", "guestkit: interrupted: sleep is not finished\n")


def test_the_end_of_stdin_is_no_key(
    opened: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was taken for `exit`, and the script for a success."""

    def ended(prompt: str) -> str:
        raise EOFError

    monkeypatch.setattr(actions, "getpass", ended)
    assert main(["shell", "disk", "-c", "luks_open /dev/sda - name"]) == 2
    assert "key: nobody has typed it" in capsys.readouterr().err


def test_an_appliance_that_was_shut_down_by_hand_is_no_error(
    opened: dict[str, Any], guest: Guest, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["shell", "disk", "-c", "shutdown"]) == 0
    assert capsys.readouterr() == ("", "")


def test_a_script_on_stdin(
    opened: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stdin(monkeypatch, b"# a comment\ncd etc\npwd\n\ncat '\xff'\npwd\n")
    assert main(["shell", "disk"]) == 1
    told = capsys.readouterr()
    assert told.out == "/etc\n"
    assert r"cat: /etc/\xff: No such file or directory" in told.err


LS = (["ls", "disk"], ["shell", "disk", "-c", "ls"])


def looking(words: list[str], *paths: str) -> list[str]:
    *before, last = words
    return [*before, f"{last} {' '.join(paths)}"] if "-c" in words else [*words, *paths]


@pytest.mark.parametrize("words", LS, ids=["command", "shell"])
def test_a_file_among_directories_passed_for_a_name_in_one_of_them(
    words: list[str], opened: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """Regression: ls(1), which this follows, lists files first and puts an empty line before a directory."""
    assert main(looking(words, "/etc", "/", "/etc/hosts", "/-x")) == 0
    names = ["hosts", "host name", r"\x1b[31m", ".hidden"]
    assert capsys.readouterr().out.splitlines() == [
        "/etc/hosts", "/-x", "", "/etc:", *names, "", "/:", "etc", "-x"
    ]  # fmt: skip
    assert main(looking(words, "/", "/nope")) == 1
    assert capsys.readouterr().out == "/:\netc\n-x\n"
    assert main(looking(words, "/")) == 0
    assert capsys.readouterr().out == "etc\n-x\n"


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        *((words, "/:\netc\n-x\n") for words in LS),
        (["shell", "disk", "-c", "stat"], "path      /\n"),
        (["shell", "disk", "-c", "cat"], ""),
        (["cat", "disk"], ""),
    ],
    ids=["ls", "ls in the shell", "stat in the shell", "cat in the shell", "cat"],
)
def test_one_path_that_is_missing_cost_those_behind_it(
    words: list[str],
    shown: str,
    opened: dict[str, Any],
    guest: Guest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Regression: in the shell alone, so that it and the command line differed."""
    monkeypatch.setattr(guest, "is_file", lambda path, **_: False, raising=False)
    monkeypatch.setattr(guest, "exists", lambda path: path == "/", raising=False)
    assert main(looking(words, "/nope", "/")) == 1
    out, err = capsys.readouterr()
    assert out.startswith(shown)
    told = err.splitlines()
    assert "/nope: " in told[0]
    assert len(told) == (2 if "cat" in words[0] + words[-1] else 1)


@pytest.mark.parametrize("words", LS, ids=["command", "shell"])
def test_an_appliance_that_died_cost_the_listings_before(
    words: list[str],
    opened: dict[str, Any],
    guest: Guest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    listed = guest.walk

    def walk(path: str, **bounds: int) -> list[GuestFile]:
        if path == "/etc":
            guest.ready = False
            raise ApplianceKilled("walk", "killed")
        return listed(path, **bounds)

    monkeypatch.setattr(guest, "walk", walk)
    assert main(looking(words, "/", "/etc", "/")) == 1
    out, err = capsys.readouterr()
    assert out == "/:\netc\n-x\n"
    assert "killed" in err


def test_what_goes_wrong_in_a_script_on_stdin_tells_its_line(
    opened: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a script of 200 lines that had changed half the guest nobody knew how far it had come."""
    stdin(monkeypatch, b"# a comment\ncd etc\n\ncat none; nosuch\npwd; pwd 'a\n")
    assert main(["shell", "--keep-going", "disk"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "guestkit: error: line 4: cat: /etc/none: No such file or directory",
        "guestkit: error: line 4: there is no command 'nosuch': help lists what there is",
        "guestkit: error: line 5: a quote is not closed",
    ]
    stdin(monkeypatch, b"pwd\nsleep 9\n")
    assert main(["shell", "disk"]) == 130
    assert capsys.readouterr().err == "guestkit: interrupted: line 2: sleep is not finished\n"
    assert main(["shell", "disk", "-c", "nosuch"]) == 2
    assert capsys.readouterr().err.startswith("guestkit: error: there is no command")


def test_the_shells_df_counts_as_df_does(
    session: Session, guest: Guest, capsys: pytest.CaptureFixture[str]
) -> None:
    full = {"frsize": 1024, "blocks": 100, "bfree": 25, "bavail": 17}
    monkey: Any = guest
    monkey.mountpoints = lambda: {"/dev/sda1": "/"}
    monkey.statvfs = lambda path: full
    run(session, "df")
    assert capsys.readouterr().out.splitlines()[1].split() == [
        "/dev/sda1", "102400", "76800", "17408", "82%", "/",
    ]  # fmt: skip


def test_the_shells_df_told_less_than_nothing_where_more_is_free_than_there_is(
    session: Session, guest: Guest, capsys: pytest.CaptureFixture[str]
) -> None:
    monkey: Any = guest
    monkey.mountpoints = lambda: {"/dev/sda1": "/"}
    monkey.statvfs = lambda path: {"frsize": 1024, "blocks": 100, "bfree": 101, "bavail": 100}
    run(session, "df")
    assert capsys.readouterr().out.splitlines()[1].split()[2] == "0"


def test_help_says_that_a_file_is_replaced() -> None:
    for name in ("cp", "mv"):
        assert "one that has the new name is replaced" in " ".join(manual(name).split())


def test_writing_has_to_be_asked_for_with_the_format(
    opened: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["shell", "--rw", "disk", "-c", "pwd"])
    said = capsys.readouterr().err
    assert "--format has to be stated, from where you know it" in said
    assert "guestkit info" not in said, (
        "it tells what the header says, which the guest of a raw disk can write"
    )
    assert opened == {}
    assert main(["shell", "disk", "-c", "mkdir /new"]) == 2
    assert main(["shell", "--rw", "--format", "raw", "disk", "-c", "pwd"]) == 0
    assert (opened["readonly"], opened["format"], opened["cancel_grace"]) == (False, "raw", 10.0)


def test_without_prompt_toolkit_scripts_run_and_the_prompt_tells_how_to_install_it(
    opened: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "prompt_toolkit"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "guestkit.cli.shell.prompt")
    monkeypatch.setitem(sys.modules, "prompt_toolkit", None)
    assert main(["shell", "disk", "-c", "pwd"]) == 0
    stdin(monkeypatch, b"pwd\n")
    assert main(["shell", "disk"]) == 0
    assert capsys.readouterr().out == "/\n/\n"
    opened.clear()
    stdin(monkeypatch, b"", terminal=True)
    monkeypatch.setattr(Screen, "is_terminal", property(lambda screen: True))
    assert main(["shell", "disk"]) == 1
    assert "pip install 'prompt_toolkit>=3.0.36'" in capsys.readouterr().err
    assert opened == {}  # before the launch


@pytest.mark.parametrize("variable", ["PAGER", "EDITOR"])
def test_a_quote_without_its_end_in_the_environment_was_a_fault_of_guestkit(
    variable: str, session: Session, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv(variable, "vim -c 'x")
    session.writable = True
    run(session, "less /etc/hosts" if variable == "PAGER" else "edit /etc/new")
    told = (
        f'guestkit: error: {variable} in the environment is no command, "vim -c \'x": No closing quotation\n'
    )
    assert capsys.readouterr().err == told
