"""The shell's prompt in a terminal. The guest is the one that tests/python/test_shell.py knows."""

from __future__ import annotations

import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.terminal import Terminal

ROOT = Path(__file__).resolve().parents[2]

STAND_IN = f"""
import contextlib, os, signal, sys, time
sys.path[:0] = [{str(ROOT)!r}]
from tests.python.test_shell import Guest
import guestkit.cli.guests
from guestkit.cli import main

class Slow(Guest):
    def sleep(self, secs):
        print("asleep", flush=True)
        try:
            time.sleep(secs)
        finally:
            self.ready = False

    def is_file(self, path, **options):
        return True

    def pread(self, path, count, offset):
        if offset == 0:
            return b"the first line" + bytes([10])
        if "ENDS" in os.environ:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        told, tells = os.pipe()
        os.set_blocking(tells, False)
        before = signal.set_wakeup_fd(tells)
        print("stalled", flush=True)
        try:
            while os.read(told, 1):
                print("still stalled", flush=True)
        finally:
            signal.set_wakeup_fd(before)
            self.ready = False

@contextlib.contextmanager
def opened(disks, **options):
    print("opened", flush=True)
    yield Slow()
    print("closed", flush=True)

guestkit.cli.guests.open_guest = opened
sys.exit(main(["shell", "web.img"]))
"""


@pytest.fixture
def terminal(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Terminal]:
    """A shell; its environment may be the fixture's parameter."""
    with Terminal(
        ["-c", STAND_IN],
        cwd=tmp_path,
        environment={"XDG_STATE_HOME": str(tmp_path), **getattr(request, "param", {})},
    ) as terminal:
        terminal.until("web.img:/>")
        yield terminal


def test_a_session(terminal: Terminal, tmp_path: Path) -> None:
    terminal.send("cd et\t")
    terminal.until("cd etc/")
    terminal.send("\r")
    terminal.until("web.img:/etc>")
    terminal.send("ls; pwd\r")
    assert "\nhost name\n\\x1b[31m\n" in terminal.until("\n/etc\n")
    terminal.send("\x1b[A\x1b[A")  # the line before the last one
    terminal.until("web.img:/etc> cd etc/")
    terminal.send("\x03")  # gives the line up
    terminal.send("nonsense\r")
    terminal.until("there is no command 'nonsense'")
    terminal.send("\x04")
    assert terminal.end() == 0
    assert "closed" in terminal.screen()
    history = tmp_path / "guestkit" / "shell_history"
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    assert "+ls; pwd\n" in history.read_text()


def test_names_with_escape_sequences_do_nothing_in_completions(terminal: Terminal) -> None:
    terminal.send("cat /etc/\t")
    screen = terminal.until("\\x1b[31m")
    assert "host name" in screen
    assert ".hidden" not in screen
    terminal.send("$\t")
    terminal.send("\x03exit\r")
    assert terminal.end() == 0


def test_ctrl_c_ends_the_command_and_not_the_shell(terminal: Terminal) -> None:
    terminal.send("sleep 900; pwd\r")
    terminal.until("asleep")
    terminal.send("\x03")
    screen = terminal.until("the next command opens the disk anew")
    assert "guestkit: interrupted" in screen
    terminal.send("cd etc\r")
    terminal.until("web.img:/etc>")
    assert terminal.screen().count("opened") == 2
    terminal.send("exit\r")
    assert terminal.end() == 0


def test_a_signal_ends_the_shell_and_closes_the_guest(terminal: Terminal) -> None:
    terminal.kill(signal.SIGTERM)
    assert terminal.end() == 143
    assert "guestkit: interrupted" in terminal.screen()
    assert terminal.has_cursor


@pytest.mark.parametrize("terminal", [{"PAGER": "head -n 1", "ENDS": "1"}], indirect=True)
def test_ctrl_c_was_dead_where_the_pager_had_ended_and_the_guest_stalled(terminal: Terminal) -> None:
    terminal.send("less /etc/hosts\r")
    terminal.until("stalled")
    terminal.send("\x03")
    assert "the first line" in terminal.until("guestkit: interrupted")
    terminal.send("exit\r")
    assert terminal.end() == 0


#: A pager that Ctrl-C does not end.
STUBBORN = {"PAGER": """sh -c "trap '' INT; cat; echo all of it; read key < /dev/tty" """}


def give_up_reading(terminal: Terminal) -> None:
    """Show a file that cannot be read to its end, and interrupt that: the pager has what there is."""
    terminal.send("less /etc/hosts\r")
    terminal.until("stalled")
    terminal.send("\x03")
    terminal.until("still stalled")
    terminal.send("\x03")
    terminal.until("all of it")


@pytest.mark.parametrize("terminal", [STUBBORN], indirect=True)
def test_no_number_of_ctrl_c_ended_the_wait_of_a_pager_for_a_stalled_guest(terminal: Terminal) -> None:
    give_up_reading(terminal)
    terminal.send("\x03\x03")  # which are the pager's
    terminal.send("\r")
    terminal.until("guestkit: interrupted")
    terminal.send("exit\r")
    assert terminal.end() == 0


@pytest.mark.parametrize("terminal", [STUBBORN], indirect=True)
def test_after_ctrl_c_no_signal_ended_the_pager(terminal: Terminal) -> None:
    give_up_reading(terminal)
    terminal.kill(signal.SIGTERM)
    assert terminal.end() == 143


@pytest.mark.parametrize("terminal", [{"PAGER": "sh -c 'cat; read key < /dev/tty'"}], indirect=True)
def test_a_signal_ends_the_pager_as_well(terminal: Terminal) -> None:
    terminal.send("less /etc/hosts\r")
    terminal.until("stalled")
    terminal.kill(signal.SIGTERM)
    assert terminal.end() == 143
