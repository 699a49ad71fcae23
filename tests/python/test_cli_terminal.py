"""What a person sees in a terminal: golden screens, without an appliance.

A program of the test stands in for the appliances; it waits at a FIFO until the test lets it go on.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.terminal import Terminal

SCREENS = Path(__file__).parent / "screens"

STAND_IN = """
import sys
sys.path[:0] = [{root!r}]
from tests.python import test_cli
from guestkit.fleet import FleetProgress
import guestkit.cli.guests
from guestkit.cli import main
from dataclasses import replace

def inspect_many(disks, *, progress, **options):
    if progress is None:
        progress = lambda seen: None
    with open("go") as go:
        progress(FleetProgress(done=0, steps={{"web.img": "starting the appliance", "bad.img": {step!r}}}))
        go.readline()
        yield replace(test_cli.BAD, index=1)
        progress(FleetProgress(done=1, steps={{"web.img": "looking for operating systems"}}))
        go.readline()
        yield replace(test_cli.GOOD, seconds=1.25)
        progress(FleetProgress(done=2, steps={{}}))

guestkit.cli.guests.inspect_many = inspect_many
sys.exit(main({words!r}))
"""


class StandIn(Terminal):
    """`guestkit inspect`, whose reports arrive when `go` is called."""

    def __init__(
        self, folder: Path, words: Sequence[str], *, step: str = "opening", **environment: str
    ) -> None:
        os.mkfifo(folder / "go")
        root = str(Path(__file__).resolve().parents[2])
        program = STAND_IN.format(root=root, words=["inspect", *words], step=step)
        super().__init__(["-c", program], cwd=folder, environment=environment)
        self._go = open(folder / "go", "w", encoding="ascii")  # noqa: SIM115

    def go(self) -> None:
        self._go.write("\n")
        self._go.flush()

    def end(self) -> int:
        self._go.close()
        return super().end()

    def __exit__(self, *raised: Any) -> None:
        self._go.close()
        super().__exit__(*raised)


def golden(name: str, screen: str) -> None:
    """Compare with the golden screen; GUESTKIT_WRITE_SCREENS=1 overwrites it instead, for you to check."""
    path = SCREENS / f"{name}.txt"
    screen = re.sub(r"[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]", "⠋", screen)
    screen = re.sub(r"\d:\d\d:\d\d|-:--:--", "0:00:00", screen)
    if os.environ.get("GUESTKIT_WRITE_SCREENS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(screen, encoding="utf-8")
    assert screen == path.read_text(encoding="utf-8")


def test_a_fleet_has_a_line_a_running_disk_and_one_for_all(tmp_path: Path) -> None:
    with StandIn(tmp_path, ["web.img", "bad.img"]) as terminal:
        golden("fleet-begin", terminal.until("0/2"))
        terminal.go()
        golden("fleet-middle", terminal.until("1/2"))
        terminal.go()
        assert terminal.end() == 1
        golden("fleet-end", terminal.screen())
        assert terminal.has_cursor


def test_quiet_shows_no_progress(tmp_path: Path) -> None:
    with StandIn(tmp_path, ["-q", "web.img", "bad.img"]) as terminal:
        terminal.go()
        terminal.go()
        assert terminal.end() == 1
        golden("fleet-end", terminal.screen())
        assert b"starting" not in terminal.raw


def test_ctrl_c_gives_the_cursor_back_and_shows_what_was_done(tmp_path: Path) -> None:
    with StandIn(tmp_path, ["web.img", "bad.img"]) as terminal:
        terminal.until("0/2")
        terminal.go()
        terminal.until("1/2")
        terminal.send("\x03")
        terminal.until("interrupted")
        assert terminal.end() == 130
        lines = terminal.screen().splitlines()
        assert "✗ bad.img  not inspected" in lines
        assert lines[-1] == "guestkit: interrupted: 1 of 2 disks are reported"
        assert not any("1/2" in line for line in lines)
        assert terminal.has_cursor


def test_json_lines_and_progress_do_not_disturb_each_other(tmp_path: Path) -> None:
    with StandIn(tmp_path, ["--jsonl", "web.img", "bad.img"]) as terminal:
        terminal.until("0/2")
        terminal.go()
        screen = terminal.until("1/2")
        assert screen.splitlines()[0] == "guestkit: error: bad.img: is empty"
        assert screen.splitlines()[1].startswith('{"disk": "bad.img", "disks": ["bad.img"], "error": {')
        assert "looking for operating systems" in screen
        terminal.go()
        assert terminal.end() == 1
        assert "looking for operating systems" not in terminal.screen()


def colours(raw: bytes) -> set[bytes]:
    """Return the foreground and background colours that were set."""
    return {
        part
        for sequence in re.findall(rb"\x1b\[([\d;]*)m", raw)
        for part in sequence.split(b";")
        if part and 30 <= int(part) < 50
    }


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_no_color_is_heard(tmp_path: Path, environment: dict[str, str], coloured: bool) -> None:
    with StandIn(tmp_path, ["web.img", "bad.img"], **environment) as terminal:
        terminal.go()
        terminal.go()
        terminal.end()
        assert bool(colours(terminal.raw)) is coloured


def test_a_dumb_terminal_gets_plain_lines(tmp_path: Path) -> None:
    with StandIn(tmp_path, ["web.img", "bad.img"], TERM="dumb") as terminal:
        terminal.go()
        terminal.go()
        terminal.end()
        assert b"\x1b" not in terminal.raw
        assert "  operating system on /dev/sda1\n" in terminal.screen()


def test_a_name_with_markup_or_sequences_does_nothing_in_the_progress(tmp_path: Path) -> None:
    with StandIn(tmp_path, ["web.img", "bad.img"], step="[red]\x1b]0;owned\x07{task}") as terminal:
        assert r"[red]\x1b]0;owned\x07{task}" in terminal.until("0/2")
        assert terminal.title == ""


def qcow2(folder: Path, *options: str) -> None:
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-u", *options, "disk.qcow2", "64M"]
    subprocess.run(command, check=True, cwd=folder)


def test_info(tmp_path: Path) -> None:
    qcow2(tmp_path, "-b", "/etc/[red]\x1b]0;owned\x07", "-F", "raw")
    with Terminal(["-m", "guestkit", "info", "disk.qcow2"], cwd=tmp_path) as terminal:
        assert terminal.end() == 0
        golden("info", terminal.screen())
        assert terminal.title == ""


def test_a_conversion_shows_its_end_alone(tmp_path: Path) -> None:
    qcow2(tmp_path)
    with Terminal(["-m", "guestkit", "convert", "disk.qcow2", "disk.vdi"], cwd=tmp_path) as terminal:
        assert terminal.end() == 0
        golden("convert", re.sub(r"vdi, .*", "vdi, SIZE", terminal.screen()))


DOCTOR = """
import sys
import guestkit.cli.doctor
from guestkit.cli import main
from guestkit.doctor import Finding
guestkit.cli.doctor.diagnose = lambda: (
    Finding(name="qemu", level="ok", message="/usr/bin/qemu: QEMU emulator version 7.2"),
    Finding(name="kvm", level="warning", message="the appliance is emulated, several times slower: "
            "/dev/kvm cannot be opened by this user", remedy="sudo usermod -aG kvm $USER"),
    Finding(name="kernel", level="error", message="/boot/vmlinuz cannot be read by this user",
            remedy="sudo chmod 0644 /boot/vmlinuz"),
    Finding(name="appliance", level="ok", message="a warm appliance is ready: /home/" + "somebody/" * 8),
)
sys.exit(main(["doctor"]))
"""


def test_doctor(tmp_path: Path) -> None:
    with Terminal(["-c", DOCTOR], cwd=tmp_path) as terminal:
        assert terminal.end() == 1
        golden("doctor", terminal.screen())


def test_help_fits_the_terminal(tmp_path: Path) -> None:
    with Terminal(["-m", "guestkit", "ls", "--help"], cwd=tmp_path) as terminal:
        assert terminal.end() == 0
        golden("help", terminal.screen())
