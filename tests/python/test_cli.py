"""The command line without an appliance: rendering, escaping, JSON, usage, exit statuses."""

from __future__ import annotations

import contextlib
import gzip
import io
import itertools
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, get_args

import pytest
from rich.console import Console

import guestkit._aside
import guestkit.appliance
import guestkit.cli.cp
import guestkit.cli.doctor
import guestkit.cli.ending
import guestkit.cli.guests
import guestkit.cli.inspect
import guestkit.cli.parser
import guestkit.cli.progress
import guestkit.cli.shell.looking
import guestkit.copying
from guestkit import ApplianceCrashed, CallTimeout, Domain, Error, Key, probe
from guestkit._usage import percent, share_of
from guestkit.cli import main
from guestkit.cli.ending import SIGNALS, Terminated
from guestkit.cli.errors import REMEDIES, of_failure
from guestkit.cli.inspection_text import render_reports, reported, tree
from guestkit.cli.parser import COMMANDS, parse
from guestkit.cli.screen import Screen
from guestkit.cli.text import columns, human_size
from guestkit.demo import DEMO_SYSTEM
from guestkit.doctor import Finding
from guestkit.files import Extracted, SkippedFile
from guestkit.fleet import Failure, FleetProgress, Report, failed
from guestkit.generated.values import Cause
from guestkit.inspection import (
    ALL_PARTS,
    Application,
    Filesystem,
    OperatingSystem,
    PartFailure,
    UnopenedFilesystem,
    User,
    pretty_name,
)
from guestkit.unpack import UNPACK, UnpackLimits
from tests.images.archives import Drive, ovf, tar
from tests.inspections import NOTHING_FOUND


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
    found = replace(NOTHING_FOUND, operating_systems=systems, **changes)
    return Report(disk=disk, disks=(disk,), inspection=found)


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

Serve = Callable[..., dict[str, Any]]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Feed the command these reports, or one report and this exception; return what it asked for."""
    given: dict[str, Any] = {}

    def serve(*reports: Report, error: BaseException | None = None) -> dict[str, Any]:
        def inspect_many(disks: Iterable[str], **options: Any) -> Iterator[Report]:
            assert list(disks) == [report.disk for report in reports]
            given.update(options)
            for index, report in reversed(list(enumerate(reports))):  # in the order in which they are ready
                yield replace(report, index=index)
                if error is not None:
                    raise error

        monkeypatch.setattr(guestkit.cli.guests, "inspect_many", inspect_many)
        return given

    return serve


# The text of reports.

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
    os-release      PRETTY_NAME  Debian GNU/Linux 12
                    NAME         Debian GNU/Linux
                    VERSION_ID   12.5
                    ID           debian
    mountpoints     /     /dev/sda1
                    /var  /dev/sda2
    filesystems     /dev/sda1
    applications    2
      vim-tiny  2:9.0-4  amd64
      tzdata    2024a    all

blank.img
  filesystems     none
  no operating system found

bad.img
  error           is empty
"""


def test_the_text_of_reports() -> None:
    assert render_reports([GOOD, BLANK, BAD]) == TEXT


def test_what_could_not_be_found_out_says_why() -> None:
    packages = PartFailure(part="applications", message="no", op="", errno=0)
    line = PartFailure(part="mountpoints", message="/etc/fstab, line 3: \x1b", op="", errno=0)
    disks = PartFailure(part="filesystems", message="no time", op="", errno=0)
    lost = system(applications=(), applications_complete=False, failures=(packages, line))
    text = render_reports([report("d", lost, failures=(disks,))])
    assert "    applications    incomplete: no\n" in text
    assert "    mountpoints     incomplete: /etc/fstab, line 3: \\x1b\n" in text
    assert "\n  filesystems     incomplete: no time\n" in text


def test_a_long_part_has_a_blank_before_what_it_lacks() -> None:
    """Regression: it was printed as "operating_systemsincomplete: …"."""
    found = PartFailure(part="operating_systems", message="no time", op="", errno=0)
    assert "\n  operating_systems incomplete: no time\n" in render_reports([report("d", failures=(found,))])


def test_a_long_name_does_not_push_the_others_away() -> None:
    long = application("x" * 500, 0, "1", "", "all")
    short = application("a", 0, "1", "", "all")
    text = render_reports([report("d", system(applications=(long, short)))])
    assert len(text.splitlines()[-1]) < 60


def test_a_version_was_written_by_rules_of_its_own() -> None:
    """And a program of Windows was called by its key in the registry."""
    musl = system(package_format="apk", applications=(application("musl", 0, "1.2", "5", "x86_64"),))
    rpm = system(
        package_format="rpm",
        applications=(
            application("gpg-pubkey", 0, "1", "(none)", "(none)"),
            application("odd", -5, "2", "1", "noarch"),
        ),
    )
    program = replace(application("{26A24AE4}", 0, "115.0", "", ""), display_name="Mozilla Firefox")
    windows = system(type="windows", package_format="registry", applications=(program,))
    lines = render_reports([report("d", musl, rpm, windows)]).splitlines()
    packages = [line.split() for line in lines if line.startswith("      ") and line[6] != " "]
    assert packages == [
        ["musl", "1.2-r5", "x86_64"],
        ["gpg-pubkey", "1"],
        ["odd", "4294967291:2-1", "noarch"],
        ["Mozilla", "Firefox", "115.0"],
    ]


def test_a_terminal_shows_the_name_that_the_system_has_for_itself() -> None:
    """Regression: the heading was libguestfs' product name, which is "12.15" for a Debian 12."""
    release = {"PRETTY_NAME": "Debian GNU/Linux 12 (bookworm)\x1b[2J", "ID": "debian"}
    shown = Console(width=100, file=io.StringIO())
    shown.print(tree(report("d", system(product_name="12.15", os_release=release)), packages=False))
    assert isinstance(shown.file, io.StringIO)
    assert "└── Debian GNU/Linux 12 (bookworm)\\x1b[2J on /dev/sda1\n" in shown.file.getvalue()


@pytest.mark.parametrize(
    ("release", "product", "name"),
    [
        ({"PRETTY_NAME": "Arch Linux", "NAME": "Arch"}, "unknown", "Arch Linux"),
        ({"NAME": "Alpine", "VERSION": "3.20 (x)", "VERSION_ID": "3.20.1"}, "unknown", "Alpine 3.20 (x)"),
        ({"NAME": "Void", "PRETTY_NAME": ""}, "unknown", "Void"),
        ({"VERSION_ID": "7"}, "Fedora release 7", "Fedora release 7"),
        ({}, "Windows 10 Pro", "Windows 10 Pro"),
        ({}, "unknown", "debian"),
    ],
)
def test_a_system_has_a_name(release: dict[str, str], product: str, name: str) -> None:
    assert pretty_name(system(os_release=release, product_name=product)) == name


@pytest.mark.parametrize(
    ("ages", "waiting", "mean", "longest", "left"),
    [
        ([0.0, 0.0], 16, None, None, None),  # nothing was inspected yet
        ([0.0, 0.0], 16, 2.0, 2.0, 18.0),
        ([1.0], 0, 2.0, 2.0, 1.0),
        ([1.0, 5.0], 0, 2.0, 6.0, 1.0),
        ([3.0, 0.0], 0, 2.0, 6.0, 3.0),  # longer than most: of the slow kind
        ([0.0, 7.0], 16, 2.0, 6.0, None),  # longer than any: of a kind that nobody has seen
        ([], 16, 2.0, 2.0, None),  # other processes do the work
    ],
)
def test_what_a_fleet_still_takes(
    ages: list[float], waiting: int, mean: float | None, longest: float | None, left: float | None
) -> None:
    """Regression: it said one second for the last 16 disks."""
    seen = FleetProgress(done=4, steps={}, mean=mean, longest=longest)
    assert guestkit.cli.progress.seconds_left(ages, waiting, seen) == left


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
    assert guestkit.printable(text) == shown


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
        os_release={evil: evil, "PRETTY_NAME": evil},
        mountpoints={evil: evil},
        filesystems=(evil,),
        applications=(application(evil, 0, evil, evil, evil),),
        failures=(failure,),
    )
    unopened = UnopenedFilesystem(device=evil, type=evil, uuid=evil, reason=evil, message=evil)
    text = render_reports(
        [
            report(
                evil,
                hostile,
                filesystems=(filesystem(evil, evil),),
                unopened=(unopened,),
                failures=(failure,),
            ),
            replace(BAD, error=Failure(kind="Error", message=evil, errno=0, op=evil)),
        ]
    )
    lines = text.split("\n")
    assert all(line.isprintable() for line in lines)
    assert len(lines) == 24
    assert text.count(r"\x1b[31m\n\u202e\xff") == 27


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
    assert capsys.readouterr() == (render_reports([BAD, GOOD]), "guestkit: error: bad.img: is empty\n")


def test_json_is_a_list_of_reports_and_pure_ascii(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    odd = report("\udcff", system(hostname="\x1b[31m\u202eü"))
    serve(GOOD, BAD, odd)
    assert main(["inspect", "--json", "web.img", "bad.img", "\udcff"]) == 1
    out, err = capsys.readouterr()
    assert err == "guestkit: error: bad.img: is empty\n"
    assert out.isascii()
    assert "\x1b" not in out
    reports = json.loads(out)
    assert reports == json.loads(json.dumps([report.to_dict() for report in (GOOD, BAD, odd)]))
    assert list(reports[1]) == ["disk", "disks", "error", "inspection", "seconds"]
    assert list(reports[1]["error"]) == ["kind", "message", "errno", "op", "cause", "hint"]
    assert reports[1]["inspection"] is None
    assert reports[2]["disk"] == "\udcff"
    assert reports[2]["inspection"]["operating_systems"][0]["hostname"] == "\x1b[31m\u202eü"


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_demo_guest_is_made_inspected_and_removed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    made: list[Path] = []

    def make_demo_guest(path: str) -> None:
        made.append(Path(path))
        made[0].write_bytes(b"guest")

    def inspect_many(disks: list[str], **options: Any) -> Iterator[Report]:
        assert disks == [str(made[0])]
        assert made[0].read_bytes() == b"guest"
        yield replace(GOOD, disk=disks[0])

    monkeypatch.setattr(guestkit.cli.inspect, "make_demo_guest", make_demo_guest)
    monkeypatch.setattr(guestkit.cli.guests, "inspect_many", inspect_many)
    assert main(["inspect", "--demo", *options]) == 0
    out, err = capsys.readouterr()
    assert err == f"guestkit: making a small demo guest: {made[0]}\n"
    if options:
        assert json.loads(out)[0]["disk"] == str(made[0])
    else:
        assert out == render_reports([GOOD])
    assert not made[0].parent.exists()


def test_an_empty_list_of_disks_was_a_report_of_an_invented_guest(capsys: pytest.CaptureFixture[str]) -> None:
    """Regression: a search that found nothing, with xargs, succeeded with the demo guest."""
    with pytest.raises(SystemExit, match="2"):
        main(["inspect", "--json"])
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("guestkit: error: give a DISK, -d DOMAIN, or --demo, which makes a small guest\n")


def test_the_demo_takes_no_place_of_a_disk(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    """`./run inspect` always asks for it."""
    serve(GOOD)
    assert main(["inspect", "--demo", "web.img"]) == 0
    assert capsys.readouterr().out == render_reports([GOOD])


def test_a_demo_guest_that_cannot_be_made_is_one_line_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def make_demo_guest(path: str) -> None:
        raise Error("launch", "no\x1b kernel\n here", 2)

    monkeypatch.setattr(guestkit.cli.inspect, "make_demo_guest", make_demo_guest)
    assert main(["inspect", "--demo"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[1:] == [r"guestkit: error: launch: no\x1b kernel here"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Terminated(15)])
def test_ctrl_c_and_sigterm_tell_what_was_done_until_then(
    serve: Serve, capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    serve(BAD, GOOD, error=error)
    status = 128 + (15 if isinstance(error, Terminated) else 2)
    assert main(["inspect", "bad.img", "web.img"]) == status
    assert capsys.readouterr() == (
        render_reports([GOOD]),
        "guestkit: interrupted: 1 of 2 disks are reported\n",
    )
    assert main(["inspect", "--json", "bad.img", "web.img"]) == status
    out, err = capsys.readouterr()
    assert [one["disk"] for one in json.loads(out)] == ["web.img"]
    assert err == "guestkit: interrupted: 1 of 2 disks are reported\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "COMMAND"),
        (["unknown"], "'unknown'"),
        (["inspect", "--unknown"], "there is no option '--unknown'"),
        (["inspect", "--js", "disk"], "there is no option '--js'"),
        (["doctor", "web.qcow2"], "there is no argument 'web.qcow2'"),
        (["convert", "web.qcow2"], "OUTPUT"),
        (["inspect", "--format", "iso", "disk"], "'iso'"),
        (["inspect", "--timeout", "soon", "disk"], "'soon'"),
        (["inspect", "--timeout", "-1", "disk"], "'-1'"),
        (["inspect", "--concurrency", "0", "disk"], "from 1 to 1073741824, not 0"),
        (["inspect", "--xml", "a", "b"], "one guest"),
        *(
            ([*command, "--member", "x", "--no-unpack", "a"], "which --no-unpack refuses")
            for command in (["df", "--json"], ["inspect", "--json"], ["report", "--from=/nowhere"])
        ),
        (["cp", "disk", "a", "b"], "colon"),
        (["cat", "web.qcow2:/etc/it s"], "type: guestkit cat web.qcow2 '/etc/it s'"),
        (["cp", "web.qcow2:/etc/hosts", "."], "type: guestkit cp web.qcow2 :/etc/hosts ."),
        (["cp", "hosts", "web.qcow2:/etc/"], "type: guestkit cp web.qcow2 hosts :/etc/"),
        (["cp", "hosts", "https://x/y"], "arguments are required: TARGET"),
        (["-q", "ls", "disk"], "options come after the command"),
        # Both were told as a fault of guestkit.
        (
            ["cp", "--max-gib", "99999999999", "disk", ":/etc/hosts", "."],
            "from 1 to 1073741824, not 99999999999",
        ),
        (["df", "--concurrency", "9" * 20, "disk"], "from 1 to 1073741824, not 9999"),
    ],
)
def test_wrong_usage_is_a_sentence_and_one_line_of_usage(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Regression: the sentence came after ten lines of usage."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    sentence, usage = err.splitlines()
    assert sentence.startswith("guestkit: error: ")
    assert told in sentence
    assert usage.startswith("usage: guestkit")
    assert usage.endswith(" --help tells more")
    assert len(usage) <= 80


def test_help_shows_examples_and_exit_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["inspect", "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert "guestkit inspect web.qcow2" in out
    assert "exit status:\n  0" in out


# The process.


def run(*arguments: str | bytes, **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "guestkit", *arguments],
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
        **options,
    )


#: Only with a buffer does the interpreter flush at its end, which fails again.
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


def test_a_reader_that_went_away_is_no_error_message() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        done = run("inspect", "/nonexistent", stdout=pipe, env=BUFFERED)
    assert (done.returncode, done.stderr) == (141, b"guestkit: error: /nonexistent: no such file\n")


@pytest.mark.parametrize("words", [("--help",), ("inspect", "--help"), ("info", "--json", __file__)])
def test_stdout_that_cannot_be_written_was_a_traceback(words: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        done = run(*words, stdout=pipe, env=BUFFERED)
    assert (done.returncode, done.stderr) == (141, b"")
    with open("/dev/full", "wb") as full:
        done = run(*words, stdout=full, env=BUFFERED)
    assert (done.returncode, done.stderr) == (1, b"guestkit: error: stdout: No space left on device\n")


@pytest.mark.parametrize(("words", "status"), [(("info", "/nonexistent"), 1), (("info", "--unknown"), 2)])
def test_a_stderr_that_nobody_reads_is_no_failure_of_its_own(words: tuple[str, ...], status: int) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "guestkit", *words]
    with os.fdopen(writer, "wb") as pipe:
        done = subprocess.run(command, stderr=pipe, stdout=subprocess.PIPE, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (status, b"")


def test_a_warning_without_a_reader_failed_the_disk_whose_thread_logged_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    def inspect_many(disks: list[str], **options: Any) -> Iterator[Report]:
        logging.getLogger("guestkit").warning("another program writes to it")
        yield GOOD

    monkeypatch.setattr(guestkit.cli.guests, "inspect_many", inspect_many)
    monkeypatch.setattr(sys, "stderr", Gone())
    assert main(["inspect", "web.img"]) == 0
    assert capsys.readouterr().out == render_reports([GOOD])


def test_help_that_stdout_cannot_show_was_a_traceback() -> None:
    done = run("inspect", "--help", stdout=subprocess.PIPE, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"--only PART,\\u2026" in done.stdout


def test_ctrl_c_while_modules_load_was_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(command: str) -> NoReturn:
        raise error

    monkeypatch.setattr(guestkit.cli.parser, "load", load)
    error: BaseException = KeyboardInterrupt()
    assert main(["doctor"]) == 130
    assert capsys.readouterr() == ("", "guestkit: interrupted\n")
    error = ImportError("no module rich")
    assert main(["doctor", "--debug"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("guestkit: error: this is a fault of guestkit: ImportError: no module rich;")
    assert "Traceback (most recent call last):" in told


@pytest.mark.parametrize("closed", [(1,), (0, 2)])
def test_a_stream_that_is_closed_had_another_in_its_place(closed: tuple[int, ...], tmp_path: Path) -> None:
    """Errors went into stdout in front of the JSON, or were an AttributeError. A result went nowhere."""
    program = (
        "import os\n"
        "from guestkit.cli import main\n"
        "status = main(['info', '--json', '/nonexistent']), main(['shell', '/nonexistent'])\n"
        "with open('told', 'w') as file:\n"
        "    print(status, *(os.readlink(f'/proc/self/fd/{n}') for n in range(3)), file=file)\n"
    )
    closing = " ".join(f"{number}>&-" for number in closed)
    command = ["sh", "-c", f'exec "$@" {closing}', "sh", sys.executable, "-c", program]
    done = subprocess.run(command, input=b"", capture_output=True, timeout=60, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    status, *places = (tmp_path / "told").read_text().rsplit(maxsplit=3)
    assert status == "(1, 1)"
    assert [number for number in range(3) if places[number] == os.devnull] == list(closed)
    if 1 not in closed:
        assert [report["disk"] for report in json.loads(done.stdout)] == ["/nonexistent"]
    if 2 not in closed:
        told = b"guestkit: error: /nonexistent: no such file\n"
        lost = b"guestkit: error: stdout: Bad file descriptor\n"
        assert done.stderr == told + (lost if 1 in closed else b"") + told


def test_stdout_that_cannot_show_a_character_gets_it_escaped(tmp_path: Path) -> None:
    done = run(
        "inspect", "ä", stdout=subprocess.PIPE, cwd=tmp_path, env=os.environ | {"PYTHONIOENCODING": "ascii"}
    )
    assert (done.returncode, done.stdout) == (1, b"\\xe4\n  error           no such file\n")
    assert done.stderr == b"guestkit: error: \\xe4: no such file\n"


def test_a_disk_whose_name_is_not_utf8(tmp_path: Path) -> None:
    done = run("inspect", "--json", b"\xff.img", stdout=subprocess.PIPE, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, b"guestkit: error: \\xff.img: no such file\n")
    (report,) = json.loads(done.stdout)
    assert report["disk"] == "\udcff.img"
    message = "\udcff.img: no such file"
    error = {"kind": "Error", "message": message, "errno": 2, "op": "open_disk"}
    assert report["error"] == error | {"cause": "disk_missing", "hint": ""}


# What the options ask for.


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ([], {"filesystems", "applications"}),
        (["--no-applications"], {"filesystems"}),
        (["--only", "users,network"], {"users", "network"}),
        (["--only", "users", "--applications"], {"users", "applications"}),
        (["--only", "all"], set(ALL_PARTS)),
    ],
)
def test_what_is_gathered(
    serve: Serve, capsys: pytest.CaptureFixture[str], words: list[str], parts: set[str]
) -> None:
    given = serve(GOOD)
    assert main(["inspect", *words, "web.img"]) == 0
    assert set(given["parts"]) == parts


def test_options_reach_the_inspection(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    given = serve(GOOD)
    keys = ["--key", "all:file:/run/keys/web", "--key", "/dev/sda2:key:a:secret"]
    assert main(["inspect", *keys, "--concurrency", "3", "--timeout", "1.5", "web.img"]) == 0
    assert given["keys"] == [Key(file="/run/keys/web"), Key("a:secret", device="/dev/sda2")]
    assert (given["concurrency"], given["timeout"], given["mode"]) == (3, 1.5, "auto")


def test_a_key_in_a_pipe_was_refused(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    given = serve(GOOD)
    reader, writer = os.pipe()
    with open(reader), open(writer, "wb") as pipe:
        pipe.write(b"a \xff secret\nanother line\n")
        pipe.flush()
        assert main(["inspect", "--key", f"u-u:file:/dev/fd/{reader}", "web.img"]) == 0
    assert given["keys"] == [Key(b"a \xff secret", device="u-u")]


def test_a_long_key_in_a_pipe_was_cut_and_what_followed_it_lost(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    given = serve(GOOD)
    reader, writer = os.pipe()
    with open(reader, "rb") as rest, open(writer, "wb") as pipe:
        pipe.write(b"k" * 9000 + b"\nls /\n")
        pipe.flush()
        assert main(["inspect", "--key", f"all:file:/dev/fd/{reader}", "web.img"]) == 0
        assert given["keys"] == [Key(b"k" * 9000)]
        pipe.close()
        assert rest.read() == b"ls /\n"
        with pytest.raises(SystemExit):
            main(["inspect", "--key", f"all:file:/dev/fd/{reader}", "web.img"])
    assert "is empty: a pipe can be read once" in capsys.readouterr().err


def test_json_lines_come_as_the_disks_get_ready(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    serve(GOOD, BAD)
    assert main(["inspect", "--jsonl", "web.img", "bad.img"]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["disk"] for line in lines] == ["bad.img", "web.img"]


def test_xml_is_virt_inspectors(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    serve(GOOD)
    assert main(["inspect", "--xml", "web.img"]) == 0
    assert GOOD.inspection is not None
    assert capsys.readouterr().out == GOOD.inspection.to_xml()


def test_xml_is_utf_8_where_stdout_is_not(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: it had Python's escapes instead of letters."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    serve(report("web.img", system(hostname="bücher")))
    assert main(["inspect", "--xml", "web.img"]) == 0
    assert "<hostname>bücher</hostname>".encode() in written.getvalue()


def test_parts_on_request_are_in_the_text() -> None:
    user = User(name="demo", uid=1000, gid=1000, full_name="", home="/home/demo", shell="/bin/sh")
    more = system(users=(user,), services=("ssh",), timezone="Europe/Berlin", applications=())
    text = render_reports([report("d", more)])
    assert "    users           demo  1000  /home/demo  /bin/sh\n" in text
    assert "    services        ssh\n" in text
    assert "    timezone        Europe/Berlin\n" in text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0"),
        (1023, "1023"),
        (1024, "1.0K"),
        (1536, "1.5K"),
        (10240, "10K"),
        (1023 << 10, "1.0M"),
        (3 << 40, "3.0T"),
    ],
)
def test_human_sizes_are_those_of_ls(size: int, text: str) -> None:
    assert human_size(size) == text


def test_columns_of_nothing() -> None:
    assert columns([]) == []


# Messages.


def test_the_file_of_a_key_is_not_taken_for_a_path_in_a_disk(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["cat", "--key", "all:file:/key", "web.qcow2"])
    assert "type:" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["convert", "--format", "qcow2", "overlay.qcow2", "new.raw"],
            "--backing DIRECTORY or --backing allow",
        ),
        (
            ["convert", "--backing", "allow", "overlay.qcow2", "new.raw"],
            "state with --format what it is, not",
        ),
        (["convert", "page.html", "new.raw"], "if it is a disk after all, state --format raw"),
        (
            ["convert", "https://x.org/a.img", "new.raw"],
            "this function takes files: download it (curl -fLO https://x.org/a.img)",
        ),
        (["convert", "page.html:/etc/fstab", "new.raw"], "type: guestkit ls page.html /etc/fstab"),
        (["inspect", "overlay.qcow2"], "--backing DIRECTORY or --backing allow"),
        (["info", "page.html:/etc"], "type: guestkit ls page.html /etc"),
        (["ls", "--add", "page.html:/x", "disk.img", "/"], "type: guestkit ls page.html /x"),
        (["inspect", "--one-guest", "page.html:/x", "page.html"], "type: guestkit ls page.html /x"),
        (["convert", "--format", "raw", "nbd://localhost/x", "new.raw"], "qemu-img does both"),
        (["info", "nbd://localhost/x"], "qemu-img does both"),
        (["inspect", "--backing", "/nowhere", "overlay.qcow2"], "no such directory for backing files"),
    ],
)
def test_an_error_speaks_of_options_and_not_of_arguments_in_python(
    words: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("page.html").write_text("<!DOCTYPE html><html><body>not found</body></html>")
    Path("disk.img").write_bytes(bytes(1 << 20))
    command = [
        "qemu-img",
        "create",
        "-q",
        "-f",
        "qcow2",
        "-u",
        "-b",
        "base.img",
        "-F",
        "raw",
        "overlay.qcow2",
    ]
    subprocess.run([*command, "1M"], check=True)
    assert main(words) == 1
    said = "".join(capsys.readouterr())
    assert told in said
    for argument in ("format=", "backing=", "protocols=", "unpack="):
        assert argument not in said


def test_a_remedy_is_for_a_cause_that_there_is() -> None:
    assert set(REMEDIES) < set(get_args(Cause))


def test_a_fault_of_guestkit_is_one_line_and_a_traceback_with_debug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def diagnose() -> None:
        raise KeyError("\x1b[31m")

    monkeypatch.setattr(guestkit.cli.doctor, "diagnose", diagnose)
    assert main(["doctor"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("guestkit: error: this is a fault of guestkit: KeyError: '\\x1b[31m'; ")
    assert err.count("\n") == 1
    assert main(["doctor", "--debug"]) == 1
    err = capsys.readouterr().err
    assert "Traceback (most recent call last):" in err
    assert "\x1b" not in err


def test_log_json_makes_every_line_of_stderr_an_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--log-json", "/nonexistent\x1b"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.isascii()
    assert "\x1b" not in line
    told = json.loads(line)
    assert list(told) == ["time", "level", "message"]
    assert told["level"] == "error"
    assert "/nonexistent" in told["message"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["df", "--member", "x", "--no-unpack", "a"], "--member is of an archive, which --no-unpack refuses"),
        (["df", "--nope", "a"], "there is no option '--nope'"),
        (["df", "--timeout", "\x1b", "a"], "argument --timeout: invalid seconds value: '\\x1b'"),
        (["df"], "the following arguments are required: DISK"),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_wrong_usage_was_no_json(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """jq, which reads the log of the Job in docs/containers.md, ends at a line that is none."""
    with pytest.raises(SystemExit, match="2"):
        main([*words, "--log-json"])
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["message"] == message


def test_wrong_usage_before_the_command_was_no_json(capsys: pytest.CaptureFixture[str]) -> None:
    for words, message in (
        (["frobnicate", "--log-json"], "argument COMMAND: invalid choice: 'frobnicate'"),
        (["--log-json", "ls", "x"], "options come after the command, as in guestkit ls --log-json"),
    ):
        with pytest.raises(SystemExit, match="2"):
            main(words)
        (line,) = capsys.readouterr().err.splitlines()
        assert json.loads(line)["message"].startswith(message)


def test_a_library_that_is_missing_was_told_in_no_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "guestkit.cli.outcome", None)
    assert main(["doctor", "--log-json"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["level"] == "error"


@pytest.mark.parametrize("place", [guestkit.cli.doctor, guestkit.cli.parser], ids=["run", "load"])
def test_a_traceback_was_no_json(
    place: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> NoReturn:
        raise KeyError("\x1b[31m")

    monkeypatch.setattr(place, "diagnose" if place is guestkit.cli.doctor else "load", fail)
    assert main(["doctor", "--debug", "--log-json"]) == 1
    messages = [json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()]
    assert messages[1] == "Traceback (most recent call last):"
    assert messages[-1] == r"KeyError: '\x1b[31m'"


def test_the_log_has_the_level_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def diagnose() -> tuple[Finding, ...]:
        log = logging.getLogger("guestkit")
        for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
            log.log(level, "\x1b[2J %s", logging.getLevelName(level))
        return ()

    monkeypatch.setattr(guestkit.cli.doctor, "diagnose", diagnose)
    for words, count in ((["-q"], 1), ([], 2), (["-v"], 3), (["-vv"], 4)):
        assert main(["doctor", *words]) == 0
        err = capsys.readouterr().err
        assert err.count("\n") == count
        assert "\x1b" not in err
    assert "guestkit: warning: \\x1b[2J WARNING\n" in err


def test_wrong_usage_with_a_name_from_a_guest_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["info", "--\x1b[2J"], ["cp", "disk", "\x1b[2J", "there"], ["convert", "a", "\x1b[2J"]):
        with pytest.raises(SystemExit):
            main(words)
        err = capsys.readouterr().err
        assert "\x1b" not in err
        assert "--help tells more" in err


# info, convert, doctor, df.


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "16M"], check=True)
    return path


def test_info_says_that_a_disk_refers_to_nothing(disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(disk)]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{disk}\n  format          qcow2 ")
    assert "  virtual size    16M (16777216 bytes)\n" in out
    assert "  refers to       nothing outside itself\n" in out


def test_info_says_what_a_disk_refers_to_and_escapes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overlay = tmp_path / "overlay.qcow2"
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-u", "-b", "/etc/\x1b[2Jshadow", "-F", "raw"]
    subprocess.run([*command, str(overlay), "1M"], check=True)
    assert main(["info", str(overlay), str(tmp_path / "missing")]) == 1
    out, err = capsys.readouterr()
    assert r"refers to       backing file '/etc/\x1b[2Jshadow', read as raw" in out
    assert "--backing DIRECTORY" in out
    assert err == f"guestkit: error: {tmp_path / 'missing'}: no such file\n"
    assert main(["info", "--json", str(overlay)]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["disk"], told["backing_file"]) == (str(overlay), "/etc/\x1b[2Jshadow")


def test_info_names_the_disks_in_an_archive_and_unpacks_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    drives = [Drive("a\x7f.vmdk"), Drive("b.vmdk", address=1)]
    Path("two.ova").write_bytes(tar({"m.ovf": ovf(drives), "a\x7f.vmdk": b"a", "b.vmdk": b"b" * 2048}))
    Path("none.tar").write_bytes(tar({"readme": b""}))
    Path("disk.gz").write_bytes(gzip.compress(b"x"))
    assert main(["info", "two.ova", "none.tar", "disk.gz"]) == 0
    out = capsys.readouterr().out
    assert "  holds           disk 'a\\x7f.vmdk', 1 bytes\n" in out
    assert "                  disk 'b.vmdk', 2.0K (2048 bytes)\n" in out
    assert "  holds           is an archive without a disk: it holds 'readme'\n" in out
    assert "  holds           a disk, perhaps, that is compressed\n" in out
    assert "virtual size" not in out
    assert "sectors" not in out  # the archive's sectors are not the disk's
    assert main(["info", "--json", "two.ova", "none.tar", "disk.gz"]) == 0
    two, none, packed = json.loads(capsys.readouterr().out)
    assert (two["content"], none["content"], packed["content"]) == ("tar", "tar", "gzip")
    assert two["inside"] == [{"name": "a\x7f.vmdk", "size": 1}, {"name": "b.vmdk", "size": 2048}]
    assert (none["inside"], "inside" in packed) == ([], False)


def test_a_packed_disk_is_opened_as_the_options_say(
    serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = serve(GOOD)
    assert main(["inspect", "web.img"]) == 0
    assert options["unpack"] == UNPACK
    assert main(["inspect", "--member", "b.vmdk", "web.img"]) == 0
    assert options["unpack"] == UnpackLimits(member="b.vmdk")
    assert main(["inspect", "--no-unpack", "web.img"]) == 0
    assert options["unpack"] is None
    with pytest.raises(SystemExit) as ended:
        main(["inspect", "--no-unpack", "--member", "b.vmdk", "web.img"])
    assert ended.value.code == 2
    capsys.readouterr()

    monkeypatch.chdir(tmp_path)
    drives = [Drive("a.vmdk"), Drive("b.vmdk", address=1)]
    Path("two.ova").write_bytes(tar({"m.ovf": ovf(drives), "a.vmdk": b"a" * 512, "b.vmdk": b"b" * 512}))
    assert main(["convert", "two.ova", "new.raw"]) == 1
    err = capsys.readouterr().err
    assert "two.ova: is a guest of 2 disks, 'a.vmdk', 'b.vmdk'; choose one with --member\n" in err
    assert main(["convert", "--member", "b.vmdk", "two.ova", "new.raw"]) == 0
    assert Path("new.raw").read_bytes() == b"b" * 512
    assert main(["convert", "--force", "--no-unpack", "two.ova", "new.raw"]) == 1
    assert "is no disk but an archive (tar): unpack the disk that is in it" in capsys.readouterr().err


def test_convert_takes_the_format_from_the_suffix_and_replaces_only_by_force(
    disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = disk.with_name("disk.vmdk")
    assert main(["convert", str(disk), str(output)]) == 0
    assert capsys.readouterr().out.startswith(f"{output}: vmdk, ")
    assert probe(output).format == "vmdk"
    # Regression: it was a wrong usage (2), but for `cp` an error (1), and had no result in JSON.
    told = f"guestkit: error: {output}: is there already; --force replaces it\n"
    assert main(["convert", str(disk), str(output)]) == 1
    assert capsys.readouterr() == ("", told)
    assert main(["convert", "--json", str(disk), str(output)]) == 1
    out, err = capsys.readouterr()
    assert err == told
    result = json.loads(out)
    assert (result["success"], result["cause"]) == (False, "already_exists")
    assert result["hint"] == "--force replaces it"
    assert probe(output).format == "vmdk"
    assert main(["convert", "--force", "--to", "raw", str(disk), str(output)]) == 0
    assert output.stat().st_size == 16 << 20
    with pytest.raises(SystemExit):
        main(["convert", str(disk), str(disk.with_name("disk.unknown"))])
    assert "--to" in capsys.readouterr().err


def test_json_told_what_to_do_in_the_terms_of_python(
    serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Regression: the hints in JSON named arguments of functions, such as format=raw."""
    page, base, overlay = (str(tmp_path / name) for name in ("page.html", "base", "overlay.qcow2"))
    Path(page).write_text("<html>")
    Path(base).write_bytes(bytes(1 << 20))
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", overlay]
    subprocess.run(command, check=True)

    assert main(["info", "--json", base, tmp_path.as_posix()]) == 1
    out, err = capsys.readouterr()
    whole, failed = json.loads(out)
    assert (whole["disk"], whole["format"], "error" in whole) == (base, "raw", False)
    assert failed["disk"] == str(tmp_path)
    assert err == f"guestkit: error: {failed['error']['message']}\n"

    assert main(["convert", "--json", overlay, str(tmp_path / "new.raw")]) == 1
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert result["cause"] == "backing_refused"
    assert result["hint"] == REMEDIES["backing_refused"]
    assert err.endswith(f"; {result['hint']}\n")

    hint = "if it is a disk after all, state format=raw"
    failure = Failure(
        kind="Error", message="page: is HTML", errno=22, op="open_disk", cause="not_a_disk", hint=hint
    )
    serve(replace(BAD, error=failure))
    for option in ("--json", "--jsonl"):
        assert main(["inspect", option, "bad.img"]) == 1
        told = json.loads(capsys.readouterr().out)
        told = told[0] if option == "--json" else told
        assert told["error"]["hint"] == REMEDIES["not_a_disk"]
    assert failure.hint == hint


def test_a_conversion_that_failed_leaves_nothing(disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "--json", str(disk.with_name("missing")), str(disk.with_name("out.raw"))]) == 1
    result = json.loads(capsys.readouterr().out)
    assert result["success"] is False
    assert "no such file" in result["error"]
    assert list(disk.parent.iterdir()) == [disk]


FINDINGS = (
    Finding(name="qemu", level="ok", message="there\x1b[2J"),
    Finding(name="kernel", level="error", message="cannot be read", remedy="sudo chmod 0644 /boot/vmlinuz"),
)


def test_doctor_has_a_line_for_each_finding(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(guestkit.cli.doctor, "diagnose", lambda: FINDINGS)
    assert main(["doctor"]) == 1
    assert capsys.readouterr().out == (
        "ok     qemu    there\\x1b[2J\n"
        "error  kernel  cannot be read; to fix it: sudo chmod 0644 /boot/vmlinuz\n"
    )
    assert main(["doctor", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)[1] == {
        "name": "kernel",
        "level": "error",
        "message": "cannot be read",
        "remedy": "sudo chmod 0644 /boot/vmlinuz",
    }
    monkeypatch.setattr(guestkit.cli.doctor, "diagnose", lambda: FINDINGS[:1])
    assert main(["doctor"]) == 0


def test_df_has_a_row_for_each_filesystem(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full = replace(filesystem("/dev/sda1", "ext4"), size=4 << 20, used=1 << 20)
    reports = [
        replace(BAD, index=1),
        report("web.img", system(), filesystems=(full, filesystem("/dev/sda3\x1b", "swap"))),
    ]
    monkeypatch.setattr(guestkit.cli.guests, "inspect_many", lambda disks, **options: (yield from reports))
    assert main(["df", "-h", "web.img", "bad.img"]) == 1
    out, err = capsys.readouterr()
    assert out == (
        "DISK     DEVICE         TYPE  SIZE  USED  USE%  MOUNTED ON\n"
        "web.img  /dev/sda1      ext4  4.0M  1.0M  25%   /\n"
        "web.img  /dev/sda3\\x1b  swap  -     -     -\n"
    )
    assert err == "guestkit: error: bad.img: is empty\n"
    assert main(["df", "--json", "web.img", "bad.img"]) == 1
    assert json.loads(capsys.readouterr().out)[0] == {
        "disk": "web.img",
        "device": "/dev/sda1",
        "type": "ext4",
        "size": 4 << 20,
        "used": 1 << 20,
        "use": 25,
        "mountpoint": "/",
    }


def test_df_hid_what_it_could_not_find_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    locked = UnopenedFilesystem(
        device="/dev/sda2", type="crypto_LUKS", uuid="u", reason="encrypted", message="it wants a key\x1b"
    )
    lost = PartFailure(part="filesystems", message="took longer than 60 s", op="", errno=0)
    other = PartFailure(part="hostname", message="no", op="", errno=0)

    def df(*found: Report) -> tuple[int, list[str]]:
        monkeypatch.setattr(guestkit.cli.guests, "inspect_many", lambda disks, **options: (yield from found))
        status = main(["df", *(one.disk for one in found)])
        return status, capsys.readouterr().err.splitlines()

    assert df(report("a.img", system(failures=(other,)), unopened=(locked,))) == (
        0,
        ["guestkit: warning: a.img: /dev/sda2 was not opened: it wants a key\\x1b"],
    )
    assert df(report("a.img", failures=(lost,))) == (
        1,
        ["guestkit: error: a.img: filesystems: took longer than 60 s"],
    )


def test_df_failed_for_each_guest_of_ostree(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    note = PartFailure(part="mountpoints", message="the system is a deployment of ostree", op="", errno=0)
    found = [report("a.img", system(failures=(note,)))]
    monkeypatch.setattr(guestkit.cli.guests, "inspect_many", lambda disks, **options: (yield from found))
    assert main(["df", "a.img"]) == 0
    told = "guestkit: warning: a.img: mountpoints: the system is a deployment of ostree\n"
    assert capsys.readouterr().err == told


@pytest.mark.parametrize(
    ("used", "use"), [(0, 0), (1, 1), (7 << 20, 7), ((7 << 20) + 1, 8), (101 << 20, 100)]
)
def test_all_round_the_share_in_use_alike(used: int, use: int) -> None:
    share = share_of(replace(filesystem("/dev/sda1", "ext4"), size=100 << 20, used=used))
    assert share is not None
    assert percent(share) == use


def test_every_command_has_an_example_and_tells_its_exit_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    for name in COMMANDS:
        with pytest.raises(SystemExit):
            main([name, "--help"])
        out = capsys.readouterr().out
        assert f"\n  guestkit {name} " in out or f"\n  guestkit {name}\n" in out
        as_diff = "exit status, as that of diff(1):\n  0  no difference\n"
        assert (as_diff if name == "diff" else "exit status:\n  0  all is well\n") in out


def test_a_path_in_the_guest_behind_the_disk_s_name_is_told_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Regression: `guestkit ls disk:/etc` reported that there was no such file."""
    disk = tmp_path / "a disk"
    disk.write_bytes(bytes(4096))
    for command in ("ls", "inspect", "df", "info"):
        assert main([command, f"{disk}:/etc/it's"]) == 1
        output = "".join(capsys.readouterr())
        assert f"type: guestkit ls '{disk}' '/etc/it'\"'\"'s'" in output


def test_an_empty_tmpdir_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: supermin took it for a directory, and no appliance could be built."""
    monkeypatch.setenv("TMPDIR", "")
    assert main(["info", os.devnull]) == 1
    assert "TMPDIR" not in os.environ


def test_a_limit_that_ran_out_has_the_option_s_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Regression: the message called it call_timeout, and spoke of a handle."""

    def late(*_: object, **__: object) -> NoReturn:
        raise CallTimeout("inspect", "took longer than 4 s (call_timeout); the handle can be used", 0, 4.0)

    monkeypatch.setattr(guestkit.cli.guests, "open_guest", late)
    assert main(["ls", "-q", "--timeout", "4", "disk"]) == 1
    message = "guestkit: error: inspect: took longer than --timeout 4, and was stopped\n"
    assert capsys.readouterr().err == message

    report = failed("web.img", CallTimeout("inspect", "took longer than 4 s (call_timeout)", 0, 4.0), 4.0)
    assert "web.img: took longer than --timeout, and was stopped" in of_failure(report)


def test_an_nbd_url_that_the_user_types_is_permitted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", "nbd://localhost/x"]) == 1
    assert "; state --format raw, and have the server" in capsys.readouterr().err


def test_what_is_no_disk_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "disk.qcow2"
    page.write_text("<html><title>Moved</title></html>")
    assert main(["inspect", str(page)]) == 1
    assert 'is no disk but an HTML page, "Moved"' in capsys.readouterr().out
    assert main(["info", str(page)]) == 0
    assert "raw html" in capsys.readouterr().out


# Steps that take long when no progress is shown.


def launching(told: threading.Event) -> Callable[..., Iterator[Report]]:
    """A fleet whose first appliance keeps starting until something is reported; the next disk's does not."""

    def inspect_many(disks: list[str], *, progress: Any, **options: Any) -> Iterator[Report]:
        if progress is not None:
            progress(FleetProgress(done=0, steps={"web.img": "starting the appliance", "b.img": "opening"}))
        assert told.wait(60)
        yield GOOD
        if progress is not None:
            progress(FleetProgress(done=1, steps={"b.img": "looking for operating systems"}))
        yield BLANK

    return inspect_many


@pytest.fixture
def stderr_told(monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], threading.Event]:
    """Record what is written to stderr, and whether there has been anything yet."""
    lines: list[str] = []
    told = threading.Event()

    def tell(self: Screen, level: str, text: str) -> None:
        lines.append(text)
        told.set()

    monkeypatch.setattr(Screen, "tell", tell)
    return lines, told


def test_a_launch_that_took_minutes_was_silent_in_a_pipe(
    monkeypatch: pytest.MonkeyPatch, stderr_told: tuple[list[str], threading.Event]
) -> None:
    lines, told = stderr_told
    monkeypatch.setattr(guestkit.cli.progress, "LONG", 0.0)
    monkeypatch.setattr(guestkit.cli.guests, "inspect_many", launching(told))
    assert main(["inspect", "--json", "web.img", "blank.img"]) == 0
    assert lines == ["web.img: starting the appliance takes more than 0 seconds"]  # once


@pytest.mark.parametrize(("words", "long"), [((), 3600.0), (("-q",), 0.0)], ids=["in time", "quiet"])
def test_nothing_is_told_of_a_launch_that_is_in_time_or_where_nobody_wants_to_know(
    monkeypatch: pytest.MonkeyPatch,
    stderr_told: tuple[list[str], threading.Event],
    words: tuple[str, ...],
    long: float,
) -> None:
    lines, told = stderr_told
    told.set()
    monkeypatch.setattr(guestkit.cli.progress, "LONG", long)
    monkeypatch.setattr(guestkit.cli.guests, "inspect_many", launching(told))
    assert main(["inspect", *words, "web.img", "blank.img"]) == 0
    assert lines == []


def test_a_single_guest_s_launch_is_told_too(stderr_told: tuple[list[str], threading.Event]) -> None:
    lines, told = stderr_told
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guestkit.cli.progress, "LONG", 3600.0)
        with Screen().steps("web.img") as step:
            patch.setattr(guestkit.cli.progress, "LONG", 0.0)
            step("starting the appliance\x1b")
            assert told.wait(60)
            step("mounting")
    assert lines == ["web.img: starting the appliance\x1b takes more than 0 seconds"]  # `tell` escapes it


@pytest.mark.parametrize("words", [["doctor"], ["appliance", "build"]], ids=" ".join)
def test_an_interruption_of_any_command_is_told(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def end(**options: Any) -> None:
        raise Terminated(15)

    monkeypatch.setattr(guestkit.cli.doctor, "diagnose", end)
    monkeypatch.setattr(guestkit.appliance, "build", end)
    assert main(words) == 143
    told = "interrupted: no appliance was built" if words[0] == "appliance" else "interrupted"
    assert capsys.readouterr() == ("", f"guestkit: {told}\n")


@pytest.mark.parametrize(("word", "status"), [("list", 0), ("check", 1)])
def test_where_no_appliance_is_it_is_said_where_they_were_looked_for(
    word: str,
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GUESTKIT_CACHEDIR", str(tmp_path / "none"))
    assert main(["appliance", word]) == status
    out, err = capsys.readouterr()
    said = f"no appliance has been built in {tmp_path / 'none'}: guestkit appliance build"
    assert (out, err) == ("", f"guestkit: {'' if status == 0 else 'error: '}{said}\n")


def test_the_appliance_of_all_users_is_built_and_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, bool]] = []

    def build(*, force: bool, system: bool) -> guestkit.appliance.Appliance:
        asked.append(("build", system))
        return guestkit.appliance.Appliance(Path("/made"), "")

    monkeypatch.setattr(guestkit.appliance, "build", build)
    monkeypatch.setattr(guestkit.appliance, "remove", lambda *, system: asked.append(("remove", system)))
    for words in (["build"], ["build", "--system"], ["remove"], ["remove", "--system"]):
        assert main(["appliance", *words]) == 0
    assert asked == [("build", False), ("build", True), ("remove", False), ("remove", True)]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["remove", "/srv/appliance"], "takes --system: DIRECTORY"),
        (["remove", "--force"], "takes --system: --force"),
        (["build", "/srv/appliance"], "takes --force and --system: DIRECTORY"),
        (["list", "/srv/appliance"], "takes nothing: DIRECTORY"),
        (["list", "--system"], "takes nothing: --system"),
        (["check", "--system"], "takes DIRECTORY: --system"),
        (["check", "--force", "/srv/appliance"], "takes DIRECTORY: --force"),
    ],
)
def test_removing_one_appliance_removed_them_all(
    words: list[str], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And whatever else an action does not take had no effect, and was not told."""

    def act(*_: object, **__: object) -> NoReturn:
        raise AssertionError(words)

    for name in ("build", "remove", "check", "appliances"):
        monkeypatch.setattr(guestkit.appliance, name, act)
    with pytest.raises(SystemExit, match="2"):
        main(["appliance", *words])
    assert f"appliance {words[0]} {told} would have no effect" in capsys.readouterr().err


def test_a_conversion_that_is_interrupted_says_what_is_left(
    disk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def end(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(guestkit._aside, "put", end)
    output = disk.with_name("disk.vmdk")
    assert main(["convert", str(disk), str(output)]) == 130
    assert capsys.readouterr() == (
        "",
        f"guestkit: interrupted: {output} is not written; what was unfinished is removed\n",
    )
    assert [*disk.parent.iterdir()] == [disk]


def test_a_conversion_had_no_limit_as_other_commands_have(
    disk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = disk.with_name("bin")
    folder.mkdir()
    (folder / "qemu-img").write_text("#!/bin/sh\nexec sleep 30\n")
    (folder / "qemu-img").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    words = ["convert", "--json", "--timeout", "0.2", str(disk), str(disk.with_name("disk.vmdk"))]
    assert main(words) == 1
    out, err = capsys.readouterr()
    assert err == f"guestkit: error: {disk}: took longer than --timeout, and was stopped\n"
    assert json.loads(out)["cause"] == "call_timeout"
    assert {*disk.parent.iterdir()} == {disk, folder}


class Guest:
    """Answers the calls that cp makes before it copies."""

    def is_ready(self) -> bool:
        return True

    def is_dir(self, path: str, followsymlinks: bool = False) -> bool:
        return path == "/srv"

    def exists(self, path: str) -> bool:
        return False

    is_symlink = exists

    def realpath(self, path: str) -> str:
        return path


@pytest.mark.parametrize(
    "words", [["cp", "-r", "disk", ":/srv", "there"], ["shell", "disk", "-c", "get -r /srv there"]]
)
def test_a_guest_chose_how_many_lines_told_what_is_not_copied(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Regression: there was a line for each file that was skipped, up to a million."""

    @contextmanager
    def opened(disk: str, **options: Any) -> Iterator[Guest]:
        yield Guest()

    def copy_out(*_: object, **__: object) -> Extracted:
        skipped = tuple(SkippedFile(path=f"/srv/{number}", reason="is a device") for number in range(count))
        return Extracted(files=0, directories=0, symlinks=0, bytes=0, skipped=skipped)

    monkeypatch.setattr(guestkit.cli.guests, "open_guest", opened)
    monkeypatch.setattr(guestkit.cli.cp, "copy_out", copy_out)
    monkeypatch.setattr(guestkit.cli.shell.looking, "copy_out", copy_out)
    for count, last in (
        (150, "50 more files are not copied either"),
        (101, "/srv/100: not copied: is a device"),  # it was "1 more files"
        (100, "/srv/99: not copied: is a device"),
    ):
        assert main(words) == 1
        lines = capsys.readouterr().err.splitlines()
        assert lines[99] == "guestkit: warning: /srv/99: not copied: is a device"
        assert (lines[-1], len(lines)) == (f"guestkit: warning: {last}", min(count, 101))


@pytest.mark.parametrize("command", ["ls", "cat"])
def test_no_other_path_is_looked_at_where_the_guest_is_gone(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Gone:
        def is_dir(self, path: str, **options: bool) -> NoReturn:
            raise ApplianceCrashed("is_dir", f"{path}: the hypervisor has ended")

        is_file = is_dir

    @contextmanager
    def opened(disk: str, **options: Any) -> Iterator[Gone]:
        yield Gone()

    monkeypatch.setattr(guestkit.cli.guests, "open_guest", opened)
    assert main([command, "disk", "/a", "/b"]) == 1
    assert capsys.readouterr() == ("", "guestkit: error: is_dir: /a: the hypervisor has ended\n")


@pytest.fixture
def ending() -> list[BaseException]:
    """What ends a copy at its second file: Ctrl-C."""
    return [KeyboardInterrupt()]


@pytest.fixture
def cp(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ending: list[BaseException]) -> Callable[..., int]:
    """Run the command in a directory with three files; it ends at the second one."""

    @contextmanager
    def opened(disk: str, **options: Any) -> Iterator[Guest]:
        yield Guest()

    copied: list[object] = []

    def copy(part: object, *rest: object) -> Extracted:
        if copied:
            raise ending[0]
        copied.append(part)
        return Extracted(files=1, directories=0, symlinks=0, bytes=1, skipped=())

    monkeypatch.setattr(guestkit.cli.guests, "open_guest", opened)
    monkeypatch.setattr(guestkit.copying._Outgoing, "copy", copy)
    monkeypatch.setattr(guestkit.copying._Incoming, "copy", copy)
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "c"):
        (tmp_path / name).touch()
    return lambda *words: main(["cp", "--format", "raw", "disk", *words])


def test_a_copy_that_is_interrupted_says_what_was_written(
    cp: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "into").mkdir()
    assert cp(":/etc/\x1bhosts", ":/etc/fstab", ":/etc/motd", "into") == 130
    assert capsys.readouterr() == ("", "guestkit: interrupted: only into/\\x1bhosts was written\n")


def test_a_copy_into_a_guest_that_is_interrupted_says_what_may_be_there(
    cp: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cp("a", "b", "c", ":/srv") == 130
    said = "what was to be written to /srv may be there in part"
    assert capsys.readouterr() == ("", f"guestkit: interrupted: {said}\n")


def test_a_copy_that_fails_did_not_say_what_was_written(
    cp: Callable[..., int],
    ending: list[BaseException],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A second attempt failed on the first file, which was there already."""
    (tmp_path / "into").mkdir()
    ending[0] = Error("copy_out", "/etc/fstab: is damaged", 5)
    assert cp(":/etc/hosts", ":/etc/fstab", "into") == 1
    assert capsys.readouterr().err == (
        "guestkit: error: /etc/fstab: is damaged: only into/hosts was written\n"
    )
    ending[0] = Error("copy_in", "b: is damaged", 5)
    assert cp("b", ":/srv") == 1
    assert capsys.readouterr().err == "guestkit: error: b: is damaged\n"


def test_a_copy_into_a_guest_that_fails_did_not_say_what_was_written(
    cp: Callable[..., int], ending: list[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    ending[0] = Error("copy_in", "b: is damaged", 5)
    assert cp("a", "b", "c", ":/srv") == 1
    assert capsys.readouterr().err == "guestkit: error: b: is damaged: only /srv/a was written\n"
    ending[0] = ApplianceCrashed("tar_in", "the hypervisor has ended")
    assert cp("b", "c", ":/srv") == 1
    said = "what was to be written to /srv may be there in part"
    assert capsys.readouterr().err == f"guestkit: error: tar_in: the hypervisor has ended: {said}\n"


def test_an_interruption_after_the_copying_does_not_say_that_nothing_was_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C comes while the guest shuts down, which takes a moment."""

    @contextmanager
    def opened(disk: str, **options: Any) -> Iterator[Guest]:
        yield Guest()
        raise KeyboardInterrupt

    nothing = Extracted(files=1, directories=0, symlinks=0, bytes=1, skipped=())
    monkeypatch.setattr(guestkit.cli.guests, "open_guest", opened)
    monkeypatch.setattr(guestkit.cli.cp, "copy_in", lambda *words, **options: nothing)
    monkeypatch.setattr(guestkit.cli.cp, "copy_out", lambda *words, **options: nothing)
    assert main(["cp", "disk", ":/etc/motd", "there"]) == 130
    assert capsys.readouterr().err == "guestkit: interrupted: the copying was complete\n"
    assert main(["cp", "--format", "raw", "disk", "there", ":/etc/motd"]) == 130
    said = "what was to be written to /etc/motd may be there in part"
    assert capsys.readouterr().err == f"guestkit: interrupted: {said}\n"


@pytest.mark.parametrize(
    ("done", "total", "said"),
    [
        (0, 1, "nothing is reported"),
        (1, 1, "all is reported"),
        (0, 3, "nothing is reported"),
        (2, 3, "2 of 3 disks are reported"),
        (3, 3, "all is reported"),
    ],
)
def test_what_an_interrupted_command_says_of_its_output(done: int, total: int, said: str) -> None:
    assert reported(done, total) == said


def test_a_terminal_that_is_gone_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """A closing terminal sends SIGHUP, and then stderr cannot be written."""

    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

    def end() -> None:
        raise Terminated(1)

    monkeypatch.setattr(guestkit.cli.doctor, "diagnose", end)
    monkeypatch.setattr(sys, "stderr", Gone())
    assert main(["doctor"]) == 129


@pytest.fixture
def deadly() -> Iterator[None]:
    """Have these signals do what they do by default, whoever runs the tests."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("deadly")
@pytest.mark.parametrize(("first", "second"), [*itertools.product(SIGNALS, SIGNALS)])
def test_a_second_signal_interrupted_the_clean_up(
    first: signal.Signals, second: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A closed terminal sends SIGHUP twice, systemd SIGTERM and SIGHUP: scratch directories were left."""
    cleaned = []

    def work() -> NoReturn:
        try:
            signal.raise_signal(first)
        finally:
            signal.raise_signal(second)
            cleaned.append("all")
        raise AssertionError("the signal did nothing")

    monkeypatch.setattr(guestkit.cli.doctor, "diagnose", work)
    assert main(["doctor"]) == 128 + first
    assert cleaned == ["all"]


@pytest.mark.usefixtures("deadly")
def test_a_signal_that_python_had_dropped_was_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A destructor drops what is raised in it, and with it the first signal."""
    monkeypatch.setattr(guestkit.cli.ending, "_CLEAN_UP", 0.0)

    def work() -> NoReturn:
        with contextlib.suppress(Terminated):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError("the signal did nothing")

    monkeypatch.setattr(guestkit.cli.doctor, "diagnose", work)
    assert main(["doctor"]) == 143


@pytest.mark.usefixtures("deadly")
def test_a_second_signal_ended_the_command_before_its_last_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def tell(screen: Screen, *_: object) -> None:
        signal.raise_signal(signal.SIGHUP)
        told.append(True)

    def work() -> NoReturn:
        monkeypatch.setattr(Screen, "tell", tell)
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError("the signal did nothing")

    told: list[bool] = []
    monkeypatch.setattr(guestkit.cli.doctor, "diagnose", work)
    assert main(["doctor"]) == 143
    assert told == [True]


#: The command, to which all processes of its group get a signal while it works; it has something to clean up.
SIGNALLED = """
import atexit, os, sys
import guestkit.cli.doctor
from guestkit.cli import program
number = int(sys.argv.pop())
guestkit.cli.doctor.diagnose = lambda: os.killpg(0, number)
atexit.register(os.write, 1, b"cleaned up")
program()
"""


@pytest.mark.usefixtures("deadly")
@pytest.mark.parametrize("number", [signal.SIGINT, *SIGNALS])
def test_the_command_ended_like_one_that_had_dealt_with_the_signal(number: signal.Signals) -> None:
    """Regression: systemd called a service failed that it had stopped."""
    command = [sys.executable, "-c", SIGNALLED, "doctor", str(number.value)]
    done = subprocess.run(command, capture_output=True, start_new_session=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (-number, b"cleaned up")
    assert done.stderr == b"guestkit: interrupted\n"


def test_ctrl_c_did_not_end_the_loop_of_a_shell() -> None:
    loop = 'for each in 1 2; do "$@"; done; echo went on'
    command = ["bash", "-c", loop, "bash", sys.executable, "-c", SIGNALLED, "doctor", f"{signal.SIGINT:d}"]
    done = subprocess.run(command, capture_output=True, start_new_session=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGINT, b"cleaned up")
    assert done.stderr.count(b"interrupted") == 1


# ---- Operands among the options.


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("ls web -l /etc", {"disk": "web", "paths": ["/etc"], "long": True}),
        ("ls -l web -- -x", {"disk": "web", "paths": ["-x"]}),
        ("ls web -1", {"disk": "web", "paths": ["-1"]}),
        ("inspect a --json b", {"disks": ["a", "b"], "json": True}),
        ("df a -h b", {"disks": ["a", "b"], "human": True}),
        ("cat w /a -q /b", {"disk": "w", "paths": ["/a", "/b"], "quiet": True}),
        ("cp w :/a -f :/b .", {"disk": "w", "sources": [":/a", ":/b"], "target": "."}),
        ("cp --max-gib 3 w :/a --root=sda1 .", {"sources": [":/a"], "max_gib": 3, "root": "sda1"}),
        ("unmount a -f b", {"directories": ["a", "b"], "force": True}),
        ("appliance check -q a", {"action": "check", "directory": "a"}),
        ("diff a --files b --text", {"guests": ["a", "b"], "files": True, "text": True}),
        ("diff --glob /etc/* a b", {"guests": ["a", "b"], "glob": "/etc/*"}),
        ("ls -ld web /etc", {"domains": [Domain("web")], "paths": ["/etc"]}),
        ("ls -lRdweb -aq /etc", {"domains": [Domain("web")], "add": ["q"], "paths": ["/etc"]}),
        ("df -hd web", {"domains": [Domain("web")], "disks": []}),
        ("sbom a -qd web b", {"domains": [Domain("web")], "disks": ["a", "b"]}),
        ("cat /a -d web /b", {"domains": [Domain("web")], "paths": ["/a", "/b"]}),
        ("diff a -qd web", {"guests": ["a", Domain("web")]}),
        ("diff -qdweb a", {"guests": [Domain("web"), "a"]}),
    ],
)
def test_a_word_behind_an_option_was_no_argument(words: str, expected: dict[str, object]) -> None:
    """And -d was not seen among other letters: "DISK is required"."""
    arguments = vars(parse(words.split()))
    assert {name: arguments[name] for name in expected} == expected
    assert "disk" not in arguments or not arguments.get("domains")


@pytest.mark.parametrize(
    ("words", "told", "usage"),
    [
        (
            "ls -qd web etc",
            "begins with /: 'etc'; -d DOMAIN stands in place of DISK",
            "ls [OPTION…] [PATH …]",
        ),
        (
            "ls web c:\\Windows\\win.ini",  # Regression: nothing told how to spell it
            "on the filesystem of drive c that is '/Windows/win.ini', with capitals as the files have them,"
            " which case_sensitive_path tells",
            "ls [OPTION…] DISK [PATH …]",
        ),
        ("cat -d web", "required: PATH", "cat [OPTION…] PATH [PATH …]"),
        ("df -q", "required: DISK", "df [OPTION…] DISK [DISK …]"),
        ("inspect a --key", "--key: expected one argument", "inspect [OPTION…] [DISK …]"),
        ("inspect --key -- a", "--key: expected one argument", "inspect [OPTION…] [DISK …]"),
        ("cat -q web:/etc/x -v", "type: guestkit cat web -q -v /etc/x", "cat [OPTION…] DISK PATH [PATH …]"),
    ],
)
def test_what_is_wrong_among_the_options_is_told_as_before(
    words: str, told: str, usage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words.split())
    error, line = capsys.readouterr().err.splitlines()
    assert error.endswith(told)
    assert line == f"usage: guestkit {usage}; --help tells more"
