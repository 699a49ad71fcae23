"""The command line without an appliance: rendering, escaping, JSON, usage, exit statuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

import guestkit.cli.inspect
from guestkit import Error
from guestkit.cli import main
from guestkit.cli.text import printable, render_reports
from guestkit.inspection import Application, Failure, OperatingSystem, Report


def system(**changes: Any) -> OperatingSystem:
    fields: dict[str, Any] = {
        "root": "/dev/sda1",
        "type": "linux",
        "distro": "debian",
        "product_name": "Debian 12",
        "major_version": 12,
        "minor_version": 5,
        "arch": "x86_64",
        "hostname": "web",
        "package_format": "deb",
        "package_management": "apt",
        "mountpoints": {"/": "/dev/sda1", "/var": "/dev/sda2"},
        "filesystems": ["/dev/sda1"],
        "applications": [
            Application(name="vim-tiny", epoch=2, version="9.0", release="4", arch="amd64"),
            Application(name="tzdata", epoch=0, version="2024a", release="", arch="all"),
        ],
    }
    return OperatingSystem(**(fields | changes))


GOOD = Report(
    disk="web.img", filesystems={"/dev/sda1": "ext4", "/dev/sda2": "swap"}, operating_systems=[system()]
)
BLANK = Report(disk="blank.img")
BAD = Report(disk="bad.img", error=Failure(message="bad.img: is empty", errno=22, op="add_drive"))

Serve = Callable[..., None]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Have the command get these reports, or this exception."""

    def serve(*reports: Report, error: BaseException | None = None) -> None:
        async def inspect_disks(disks: Iterable[str]) -> list[Report]:
            if error is not None:
                raise error
            assert list(disks) == [report.disk for report in reports]
            return list(reports)

        monkeypatch.setattr(guestkit.cli.inspect, "inspect_disks", inspect_disks)

    return serve


# Text.

TEXT = """\
web.img
  filesystems     /dev/sda1  ext4
                  /dev/sda2  swap
  operating system on /dev/sda1
    type            linux
    distro          debian
    product name    Debian 12
    version         12.5
    arch            x86_64
    hostname        web
    package format  deb
    package manager apt
    mountpoints     /     /dev/sda1
                    /var  /dev/sda2
    filesystems     /dev/sda1
    applications    2
      vim-tiny  2:9.0-4  amd64
      tzdata    2024a    all

blank.img
  filesystems     none
  no operating system found

bad.img: is empty
"""


def test_the_text_of_reports() -> None:
    assert render_reports([GOOD, BLANK, BAD]) == TEXT


def test_packages_that_could_not_be_listed_say_why() -> None:
    text = render_reports(
        [Report(disk="d", operating_systems=[system(applications=[], applications_error="no")])]
    )
    assert "    applications    could not be listed: no\n" in text


def test_a_long_name_does_not_push_the_others_away() -> None:
    long = Application(name="x" * 500, epoch=0, version="1", release="", arch="all")
    short = Application(name="a", epoch=0, version="1", release="", arch="all")
    text = render_reports([Report(disk="d", operating_systems=[system(applications=[long, short])])])
    assert len(text.splitlines()[-1]) < 60


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Debian 12 (bücherwurm) 日本", "Debian 12 (bücherwurm) 日本"),
        ("\x1b[2J\x1b]0;owned\x07", r"\x1b[2J\x1b]0;owned\x07"),
        ("a\r\n\tb\x00", r"a\r\n\tb\x00"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        ("\u2066\u200b\ufeff", r"\u2066\u200b\ufeff"),
        ("a\u2028b\u00a0c", r"a\u2028b\xa0c"),
        ("\udcff.img", r"\xff.img"),
        ("\ud800\U000e0041", r"\ud800\U000e0041"),
    ],
)
def test_what_is_not_visible_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_no_field_reaches_the_terminal_unescaped() -> None:
    evil = "\x1b[31m\n\u202e\udcff"
    hostile = OperatingSystem(
        root=evil,
        type=evil,
        distro=evil,
        product_name=evil,
        major_version=1,
        minor_version=2,
        arch=evil,
        hostname=evil,
        package_format=evil,
        package_management=evil,
        mountpoints={evil: evil},
        filesystems=[evil],
        applications=[Application(name=evil, epoch=0, version=evil, release=evil, arch=evil)],
        applications_error=evil,
    )
    text = render_reports(
        [
            Report(disk=evil, filesystems={evil: evil}, operating_systems=[hostile]),
            Report(disk=evil, error=Failure(message=evil, errno=0, op=evil)),
        ]
    )
    lines = text.split("\n")
    assert all(line.isprintable() for line in lines)
    assert len(lines) == 18
    assert text.count(r"\x1b[31m\n\u202e\xff") == 20


# The command.


def test_all_well(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    serve(GOOD, BLANK)
    assert main(["inspect", "web.img", "blank.img"]) == 0
    assert capsys.readouterr() == (render_reports([GOOD, BLANK]), "")


def test_a_disk_that_failed_makes_the_status_1_and_the_others_are_reported(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(BAD, GOOD)
    assert main(["inspect", "bad.img", "web.img"]) == 1
    assert capsys.readouterr() == (render_reports([BAD, GOOD]), "")


def test_json_is_a_list_of_reports_and_pure_ascii(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    odd = Report(disk="\udcff", operating_systems=[system(hostname="\x1b[31m\u202eü")])
    serve(GOOD, BAD, odd)
    assert main(["inspect", "--json", "web.img", "bad.img", "\udcff"]) == 1
    out, err = capsys.readouterr()
    assert err == ""
    assert out.isascii()
    assert "\x1b" not in out
    reports = json.loads(out)
    assert reports == [GOOD.to_json() | {"operating_systems": [json_system()]}, BAD.to_json(), reports[2]]
    assert list(reports[0]) == ["schema", "disk", "error", "filesystems", "operating_systems"]
    assert list(reports[1]["error"]) == ["message", "errno", "op"]
    assert (reports[1]["operating_systems"], reports[1]["filesystems"]) == ([], {})
    assert reports[2]["disk"] == "\udcff"
    assert reports[2]["operating_systems"][0]["hostname"] == "\x1b[31m\u202eü"


def json_system() -> dict[str, Any]:
    found: dict[str, Any] = GOOD.to_json()["operating_systems"][0]
    assert list(found) == [
        *("root", "type", "distro", "product_name", "major_version", "minor_version", "arch", "hostname"),
        *("package_format", "package_management", "mountpoints", "filesystems"),
        *("applications", "applications_error"),
    ]
    assert list(found["applications"][0]) == ["name", "epoch", "version", "release", "arch"]
    return found


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_without_a_disk_a_demo_guest_is_made_inspected_and_removed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    made: list[Path] = []

    def make_demo_guest(path: str) -> None:
        made.append(Path(path))
        made[0].write_bytes(b"guest")

    async def inspect_disks(disks: list[str]) -> list[Report]:
        assert disks == [str(made[0])]
        assert made[0].read_bytes() == b"guest"
        return [GOOD]

    monkeypatch.setattr(guestkit.cli.inspect, "make_demo_guest", make_demo_guest)
    monkeypatch.setattr(guestkit.cli.inspect, "inspect_disks", inspect_disks)
    assert main(["inspect", *options]) == 0
    out, err = capsys.readouterr()
    assert err == f"guestkit: no disk given, making a small demo guest: {made[0]}\n"
    assert out == (render_reports([GOOD]) if not options else json.dumps([GOOD.to_json()], indent=2) + "\n")
    assert not made[0].parent.exists()


def test_a_demo_guest_that_cannot_be_made_is_one_line_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def make_demo_guest(path: str) -> None:
        raise Error("launch", "no\x1b kernel\n here", 2)

    monkeypatch.setattr(guestkit.cli.inspect, "make_demo_guest", make_demo_guest)
    assert main(["inspect"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[1:] == [r"guestkit: launch: no\x1b kernel here"]


def test_ctrl_c_is_quiet(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    serve(error=KeyboardInterrupt())
    assert main(["inspect", "web.img"]) == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "arguments", [[], ["unknown"], ["inspect", "--unknown"], ["inspect", "--js", "disk"]]
)
def test_wrong_usage_is_status_2_and_says_so_on_stderr(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("usage: guestkit")


def test_help_shows_examples_and_exit_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["inspect", "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert "guestkit inspect web.qcow2" in out
    assert "exit status: 0" in out


# The process.


def run(*arguments: str | bytes, **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "guestkit", *arguments],
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
        **options,
    )


def test_a_reader_that_went_away_is_no_error_message() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    # Unbuffered, the interpreter has nothing left to flush at its end: the trap is in the buffered form.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with os.fdopen(writer, "wb") as pipe:
        done = run("inspect", "/nonexistent", stdout=pipe, env=environment)
    assert (done.returncode, done.stderr) == (141, b"")


def test_stdout_that_cannot_show_a_character_gets_it_escaped(tmp_path: Path) -> None:
    done = run(
        "inspect", "ä", stdout=subprocess.PIPE, cwd=tmp_path, env=os.environ | {"PYTHONIOENCODING": "ascii"}
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, b"\\xe4: no such file\n", b"")


def test_a_disk_whose_name_is_not_utf8(tmp_path: Path) -> None:
    done = run("inspect", "--json", b"\xff.img", stdout=subprocess.PIPE, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, b"")
    (report,) = json.loads(done.stdout)
    assert report["disk"] == "\udcff.img"
    assert report["error"] == {"message": "\udcff.img: no such file", "errno": 2, "op": "add_drive"}
