"""The soak finds what is planted, keeps and repeats it, and goes on where it ended. A little of it runs."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from guestkit import ApplianceCrashed, CallTimeout, Error, Guestfs, HandleOptions, UnpackLimits
from tests.images.corpus import images
from tests.images.writer import written_to
from tests.soak import attacks, guests, mutate, running, storms
from tests.soak.__main__ import ASIDE, parser
from tests.soak.attacks import Watch
from tests.soak.case import SECTIONS, Case, Found
from tests.soak.planted import FAULTS, disk_left_open, left_by_a_killed_program, process_without_a_mark
from tests.soak.running import ROOT


def soak(folder: Path, *words: str | int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.soak", "--directory", str(folder), *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Run the cases with planted faults that are found at once."""
    folder = tmp_path_factory.mktemp("soak")
    return folder, soak(folder, "--only", "planted", "--seed", 5, "--cases", 7)


def finding(folder: Path, number: int) -> str:
    return (folder / "findings" / f"planted-5-{number}" / "finding.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("number", "happened"),
    [
        (1, "expected: the number is none"),
        (2, "ValueError: no error of guestkit"),
        (3, "the process ended with signal SIGSEGV"),
        (4, "expected: no temporary file stays\n\nhappened: left"),
        (5, "expected: no secret is in any output"),
    ],
)
def test_a_planted_fault_is_found_and_kept(
    planted: tuple[Path, subprocess.CompletedProcess[str]], number: int, happened: str
) -> None:
    folder, _ = planted
    assert happened in finding(folder, number)


@pytest.mark.full
@pytest.mark.parametrize(
    ("number", "happened"),
    [
        (7, "no process stays"),
        (8, "the case ends within 8 s"),
        (FAULTS.index(process_without_a_mark), "no process stays"),
    ],
)
def test_what_does_not_end_is_found_and_ended(tmp_path: Path, number: int, happened: str) -> None:
    done = soak(tmp_path, "--only", "planted", "--seed", 5, "--case", number, "--limit", 8)
    assert done.returncode == 1
    assert happened in finding(tmp_path, number)
    commands = subprocess.run(["ps", "-ewwo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in commands


def test_what_was_found_is_counted_and_good_cases_leave_nothing(
    planted: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, done = planted
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("planted 0: nothing: ok, ")
    assert re.match(r"soak: seed 5: planted 7 \(1 skipped\) cases in \d+ s; 5 findings in ", lines[-1])
    assert len(list((folder / "findings").iterdir())) == 5
    assert list((folder / "work").iterdir()) == []


def test_the_printed_command_repeats_a_finding(
    planted: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, done = planted
    kept = folder / "findings" / "planted-5-1"
    number = (kept / "input" / "number").read_text(encoding="utf-8")
    (command,) = [line for line in done.stdout.splitlines() if re.search("repeat it: .*--case 1 ", line)]
    state = (folder / "state.json").read_text(encoding="utf-8")
    run, name, *words = shlex.split(command.partition("repeat it: ")[2])
    assert (run, name) == ("./run", "soak")
    again = [sys.executable, "-m", "tests.soak", *words]  # what ./run does after its set-up
    assert subprocess.run(again, cwd=ROOT, capture_output=True, check=False).returncode == 1
    assert (kept / "input" / "number").read_text(encoding="utf-8") == number
    assert (folder / "state.json").read_text(encoding="utf-8") == state


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.full)])
def test_a_soak_goes_on_where_it_was_ended(tmp_path: Path, number: signal.Signals) -> None:
    """It was started in the background of a shell, and is interrupted all the same."""
    words = ["--directory", str(tmp_path), "--only", "planted", "--seed", "5", "--cases", "5"]
    command = [sys.executable, "-m", "tests.soak", *words]
    in_background = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", *command]
    with subprocess.Popen(
        in_background, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        for line in first.stdout:
            if line.startswith("planted 2:"):
                break
        first.send_signal(number)
        rest = first.communicate()[0]
    assert first.returncode == (130 if number == signal.SIGINT else -number)
    assert ("soak: seed 5: planted " in rest) == (number == signal.SIGINT)
    done = soak(tmp_path, *words[2:])
    numbers = [int(number) for number in re.findall(r"^planted (\d+):", done.stdout, re.MULTILINE)]
    assert numbers in ([2, 3, 4], [3, 4], [4])
    tally = json.loads((tmp_path / "state.json").read_text(encoding="utf-8"))["5"]["planted"]
    assert (tally["next"], tally["good"], tally["found"]) == (5, 1, 4)
    assert len(list((tmp_path / "findings").iterdir())) == 4


def case(section: str, number: int, folder: Path) -> Case:
    return Case(section, 1, number, folder, 1.0)


def test_a_case_is_the_same_each_time_and_no_other_s(
    tmp_path: Path,
) -> None:
    numbers = [case("guests", number, tmp_path).random.random() for number in (1, 1, 2)]
    numbers.append(case("attacks", 1, tmp_path).random.random())
    assert numbers[0] == numbers[1]
    assert len(set(numbers)) == 3
    content = b"ID=debian\nVERSION=12\n" * 20
    for change in (mutate.text, mutate.bits):
        changed = [
            change(case("guests", number, tmp_path).random, content) for number in (1, 1, *range(2, 20))
        ]
        assert changed[0] == changed[1]
        assert len({after for after, _ in changed}) > 15


def test_a_changed_gpt_has_the_right_checksums(tmp_path: Path) -> None:
    """Otherwise no reader would look at what was changed."""
    made = bytearray(64 << 10)
    struct.pack_into("<8sII", made, 512, b"EFI PART", 0x10000, 92)
    struct.pack_into("<II", made, 512 + 80, 128, 128)  # entries, and the size of each
    changed = 0
    for number in range(20):
        disk = bytearray(made)
        mutate.gpt(case("guests", number, tmp_path).random, disk)
        changed += disk != made
        header = disk[512 : 512 + 92]
        (told,) = struct.unpack_from("<I", header, 16)
        struct.pack_into("<I", header, 16, 0)
        assert told == zlib.crc32(header)
    assert changed == 20  # the checksums themselves, at least


def test_an_opened_file_is_noticed(tmp_path: Path) -> None:
    for opens in (False, True):
        file = tmp_path / "file"
        file.write_bytes(b"content")
        watch = Watch(file)
        if opens:
            file.read_bytes()
        assert watch.close() == opens


@pytest.mark.parametrize(
    ("sweep", "limit", "happened"),
    [
        ("raise SystemExit('no handle')", 60.0, "status 1: no handle"),
        ("import time; time.sleep(600)", 1.0, "it went on"),
    ],
)
def test_a_sweep_that_fails_or_hangs_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sweep: str, limit: float, happened: str
) -> None:
    monkeypatch.setattr(running, "SWEEP", sweep)
    monkeypatch.setattr(running, "SWEEP_LIMIT", limit)
    number = FAULTS.index(left_by_a_killed_program)
    outcome = running.run_case("planted", 5, number, tmp_path, 1.0, 60.0, "")
    assert outcome.kind == "found"
    assert outcome.expected == f"the next program sweeps, within {limit:g} s / no temporary file stays"
    assert outcome.happened.split() == f"{happened} / left".split()


def test_a_broken_limit_on_bombs_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "input").mkdir()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    one = case("attacks", 1, tmp_path)
    with (
        tempfile.TemporaryFile(dir=tmp_path / "tmp") as file,
        pytest.raises(Found, match="at most 64 MB of room"),
        attacks.bounded(one, 64 << 20, 20.0),
    ):
        os.posix_fallocate(file.fileno(), 0, 100 << 20)
    none = UnpackLimits(size=2048 << 20, seconds=20.0)
    monkeypatch.setattr(attacks, "UnpackLimits", lambda **_: none)
    with pytest.raises(Found, match="MB of room|becomes larger"):
        attacks.set_off(one, "gz")


@pytest.mark.parametrize(
    "error", [ApplianceCrashed("inspect", "it died"), CallTimeout("inspect", "it waits")]
)
def test_a_crash_or_delay_without_a_damaged_filesystem_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Error
) -> None:
    def fail(*_: object) -> Guestfs:
        raise error

    monkeypatch.setattr(guests, "Guestfs", fail)
    one = case("guests", 1, tmp_path)
    guests.examine(one, tmp_path / "disk", "raw", [], damaged=True)
    with pytest.raises(Found, match=error.message):
        guests.examine(one, tmp_path / "disk", "raw", [], damaged=False)


def test_a_disk_of_the_corpus_that_stays_open_is_found(tmp_path: Path) -> None:
    outcome = running.run_case("planted", 5, FAULTS.index(disk_left_open), tmp_path, 1.0, 60.0, "")
    assert (outcome.kind, outcome.expected) == ("found", "every file of the case is closed")


@pytest.mark.parametrize("storm", [storms.waits, storms.groups])
def test_storms_in_which_no_launch_succeeds_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storm: Callable[[Case, Path], None]
) -> None:
    (disk,) = images(["debian"]).values()
    monkeypatch.setattr(storms, "LIMITS", HandleOptions(appliance=str(tmp_path)))
    with pytest.raises((Found, Error, ExceptionGroup)):
        storm(case("storms", 1, tmp_path), disk)


@pytest.mark.parametrize("confined", ["seccomp", "seccomp, landlock"])
def test_a_qemu_that_is_not_confined_as_the_case_says_is_found(tmp_path: Path, confined: str) -> None:
    launched = SimpleNamespace(launch_info=lambda: SimpleNamespace(sandbox=confined))
    for sandbox in ("auto", "strict", "none"):
        one = case("guests", 1, tmp_path)
        one.__dict__["sandbox"] = sandbox  # instead of the one that is drawn
        if (sandbox == "strict") == ("landlock" in confined):
            guests.check_sandbox(one, cast("Guestfs", launched))
        else:
            with pytest.raises(Found, match="is confined as"):
                guests.check_sandbox(one, cast("Guestfs", launched))


def test_wrong_arguments_end_with_2(tmp_path: Path) -> None:
    for words in (["--case", "1"], ["--only", "nothing"], ["--minutes", "-1"]):
        assert soak(tmp_path, *words).returncode == 2
    (tmp_path / "state.json").write_text("no JSON", encoding="utf-8")
    done = soak(tmp_path, "--cases", 1)
    assert done.returncode == 2
    assert done.stderr.startswith("soak: ")


def test_the_help_of_run_names_every_option() -> None:
    told = subprocess.run([ROOT / "run", "soak", "--help"], capture_output=True, text=True, check=True).stdout
    options = re.findall(r"--[a-z]+", parser().format_help())
    assert set(options) - {"--help"} == set(re.findall(r"--[a-z]+", told))
    assert all(name in told for name in SECTIONS if name not in ASIDE)


#: Sections, seeds and how many cases: those that take some seconds each, of guests that others need too. What
#: kills, limits and attacks try has tests of its own.
SHORT = [
    ("guests", 273, 1),
    ("storms", 1, 1),
    ("load", 0, 1),
    pytest.param("kills", 6, 2, marks=pytest.mark.full),
    pytest.param("limits", 9, 2, marks=pytest.mark.full),
    pytest.param("attacks", 6, 3, marks=pytest.mark.full),
]


@pytest.mark.parametrize(("section", "seed", "cases"), SHORT)
def test_a_short_soak_finds_nothing(section: str, seed: int, cases: int, tmp_path: Path) -> None:
    limit = 500 // cases  # below pytest's own, so that the soak tells what did not end
    words = ("--only", section, "--seed", seed, "--cases", cases, "--minutes", 1, "--limit", limit)
    done = soak(tmp_path, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    tally = json.loads((tmp_path / "state.json").read_text(encoding="utf-8"))[str(seed)][section]
    assert tally["good"] == cases, done.stdout  # none is skipped


def test_a_disk_could_not_be_locked_in_a_folder_with_a_long_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: depending on where the tests ran, the writer's socket had too long a name."""
    folder = tmp_path / ("long" * 20)
    folder.mkdir()
    disk = folder / "disk.img"
    disk.write_bytes(bytes(1 << 20))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with written_to(disk, "raw") as process:
        os.kill(process, 0)


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_minutes_of_soak_find_nothing(seed: int, tmp_path: Path) -> None:
    done = soak(tmp_path, "--seed", seed, "--minutes", 5)
    assert done.returncode == 0, done.stdout + done.stderr
