"""The command line without an appliance: rendering, escaping, JSON, usage, exit statuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import guestkit.cli.inspect
from guestkit import Error
from guestkit.cli import main
from guestkit.cli.text import printable, render_reports
from guestkit.demo import DEMO_SYSTEM
from guestkit.fleet import Failure, Report
from guestkit.inspection import (
    Application,
    Filesystem,
    Inspection,
    OperatingSystem,
    PartFailure,
    Provenance,
    UnopenedFilesystem,
)


def application(name: str, epoch: int, version: str, release: str, arch: str) -> Application:
    return replace(
        DEMO_SYSTEM.applications[0], name=name, epoch=epoch, version=version, release=release, arch=arch
    )


def system(**changes: Any) -> OperatingSystem:
    plain = replace(
        DEMO_SYSTEM,
        product_name="Debian 12",
        hostname="web",
        filesystems=("/dev/sda1",),
        applications=(
            application("vim-tiny", 2, "9.0", "4", "amd64"),
            application("tzdata", 0, "2024a", "", "all"),
        ),
    )
    return replace(plain, **changes)


def report(disk: str, *systems: OperatingSystem, **changes: Any) -> Report:
    provenance = Provenance(
        way="fast", reason="", guestkit="0.1.0", libguestfs="1.48.6", verified=False, differences=()
    )
    found = Inspection(
        provenance=provenance,
        disks=(),
        partitions=(),
        layers=(),
        filesystems=(),
        unopened=(),
        operating_systems=systems,
    )
    return Report(disk=disk, disks=(disk,), inspection=replace(found, **changes))


def filesystem(device: str, kind: str) -> Filesystem:
    return Filesystem(device=device, type=kind, label="", uuid="", size=None, used=None)


GOOD = report(
    "web.img", system(), filesystems=(filesystem("/dev/sda1", "ext4"), filesystem("/dev/sda2", "swap"))
)
BLANK = report("blank.img")
BAD = Report(
    disk="bad.img",
    disks=("bad.img",),
    error=Failure(kind="Error", message="bad.img: is empty", errno=22, op="probe"),
)

Serve = Callable[..., None]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Have the command get these reports, or this exception."""

    def serve(*reports: Report, error: BaseException | None = None) -> None:
        def inspect_many(disks: Iterable[str]) -> Iterator[Report]:
            if error is not None:
                raise error
            assert list(disks) == [report.disk for report in reports]
            return reversed(reports)  # they come as they are ready

        monkeypatch.setattr(guestkit.cli.inspect, "inspect_many", inspect_many)

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
    failure = PartFailure(part="applications", message="no", op="", errno=0)
    text = render_reports(
        [report("d", system(applications=(), applications_complete=False, failures=(failure,)))]
    )
    assert "    applications    could not be read: no\n" in text


def test_a_long_name_does_not_push_the_others_away() -> None:
    long = application("x" * 500, 0, "1", "", "all")
    short = application("a", 0, "1", "", "all")
    text = render_reports([report("d", system(applications=(long, short)))])
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
    failure = PartFailure(part="applications", message=evil, op=evil, errno=0)
    hostile = system(
        root=evil,
        type=evil,
        distro=evil,
        product_name=evil,
        arch=evil,
        hostname=evil,
        package_format=evil,
        package_management=evil,
        mountpoints={evil: evil},
        filesystems=(evil,),
        applications=(application(evil, 0, evil, evil, evil),),
        failures=(failure,),
    )
    unopened = UnopenedFilesystem(device=evil, type=evil, uuid=evil, reason=evil, message=evil)
    text = render_reports(
        [
            report(evil, hostile, filesystems=(filesystem(evil, evil),), unopened=(unopened,)),
            replace(BAD, error=Failure(kind="Error", message=evil, errno=0, op=evil)),
        ]
    )
    lines = text.split("\n")
    assert all(line.isprintable() for line in lines)
    assert len(lines) == 20
    assert text.count(r"\x1b[31m\n\u202e\xff") == 23


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
    odd = report("\udcff", system(hostname="\x1b[31m\u202eü"))
    serve(GOOD, BAD, odd)
    assert main(["inspect", "--json", "web.img", "bad.img", "\udcff"]) == 1
    out, err = capsys.readouterr()
    assert err == ""
    assert out.isascii()
    assert "\x1b" not in out
    reports = json.loads(out)
    assert reports == json.loads(json.dumps([report.to_dict() for report in (GOOD, BAD, odd)]))
    assert list(reports[1]) == ["disk", "disks", "error", "inspection", "seconds"]
    assert list(reports[1]["error"]) == ["kind", "message", "errno", "op"]
    assert reports[1]["inspection"] is None
    assert reports[2]["disk"] == "\udcff"
    assert reports[2]["inspection"]["operating_systems"][0]["hostname"] == "\x1b[31m\u202eü"


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_without_a_disk_a_demo_guest_is_made_inspected_and_removed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    made: list[Path] = []

    def make_demo_guest(path: str) -> None:
        made.append(Path(path))
        made[0].write_bytes(b"guest")

    def inspect_many(disks: list[str]) -> list[Report]:
        assert disks == [str(made[0])]
        assert made[0].read_bytes() == b"guest"
        return [replace(GOOD, disk=disks[0])]

    monkeypatch.setattr(guestkit.cli.inspect, "make_demo_guest", make_demo_guest)
    monkeypatch.setattr(guestkit.cli.inspect, "inspect_many", inspect_many)
    assert main(["inspect", *options]) == 0
    out, err = capsys.readouterr()
    assert err == f"guestkit: no disk given, making a small demo guest: {made[0]}\n"
    if options:
        assert json.loads(out)[0]["disk"] == str(made[0])
    else:
        assert out == render_reports([GOOD])
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
    message = "\udcff.img: no such file"
    assert report["error"] == {"kind": "Error", "message": message, "errno": 2, "op": "open_disk"}
