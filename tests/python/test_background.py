"""What goes on when its command has returned, such as `guestkit mount`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

#: Does that work in the background; the status of the command is what the work gives.
PROGRAM = """
import os, signal, sys, time
from guestkit.cli.background import in_background

def work(go_on):
    WORK

status = in_background(work)
print("returned", status, flush=True)
sys.exit(status)
"""


def program(*lines: str, first: str = "") -> list[str]:
    return [sys.executable, "-c", first + PROGRAM.replace("WORK", "\n    ".join(lines))]


@pytest.mark.parametrize(
    ("work", "status"),
    [
        ("return 0", 0),
        ("return 3", 3),
        ("sys.exit(2)", 2),
        ("raise KeyboardInterrupt", 130),
        ("os.kill(os.getpid(), signal.SIGKILL)", 137),
        ("sys.exit()", 0),
    ],
)
def test_the_command_ends_as_its_work_and_only_once(work: str, status: int) -> None:
    done = subprocess.run(program(work), capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (status, f"returned {status}\n", "")


def test_what_goes_on_held_what_the_command_was_given(tmp_path: Path) -> None:
    """Regression: whoever waited for the end of a pipe waited for that of the mount."""
    end, given = os.pipe()
    told = tmp_path / "told"
    os.mkfifo(told)
    command = program(
        "go_on()",
        f"with open({str(told)!r}, 'w') as file:",
        "    print(os.getcwd(), os.getsid(0) == os.getpid(), file=file)",
        "    print(*sorted({os.readlink(f'/proc/self/fd/{fd}') for fd in range(3)}), file=file)",
        "return 5",
    )
    with subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=[given], cwd=tmp_path) as done:
        os.close(given)
        assert done.stdout is not None
        assert done.stdout.read() == b"returned 0\n"  # to its end, although the work waits for a reader
        assert done.wait(60) == 0
    with open(end, "rb") as pipe:
        assert pipe.read() == b""
    assert told.read_text() == "/ True\n/dev/null\n"


def test_a_key_given_by_a_descriptor_could_not_be_read() -> None:
    """As in `guestkit mount --key all:file:<(pass show web)`."""
    key, told = os.pipe()
    with open(told, "wb") as pipe:
        pipe.write(b"secret")
    command = program(
        f"print(open('/dev/fd/{key}').read(), flush=True)",
        f"os.system('test ! -e /proc/self/fd/{key} && echo no program has it')",
        "go_on()",
        "return 0",
    )
    done = subprocess.run(command, pass_fds=[key], capture_output=True, text=True, timeout=60, check=False)
    os.close(key)
    assert (done.stdout, done.stderr) == ("secret\nno program has it\nreturned 0\n", "")


def test_warnings_were_written_into_the_disk_where_stderr_was_closed(tmp_path: Path) -> None:
    """Its stand-in had another descriptor, which the work closed, and which the disk got then."""
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(8))
    command = program(
        f"opened = os.open({str(disk)!r}, os.O_RDWR)",
        "print('warning', file=sys.stderr, flush=True)",
        "return 0",
        first="import sys\nfrom guestkit.cli import streams\nstreams.prepare()",
    )
    closing = ["sh", "-c", 'exec "$@" 2>&-', "sh", *command]
    assert subprocess.run(closing, stdout=subprocess.PIPE, timeout=60, check=True).stdout == b"returned 0\n"
    assert disk.read_bytes() == bytes(8)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_command_ends_its_work(number: signal.Signals, tmp_path: Path) -> None:
    ended = tmp_path / "ended"
    lines = (
        "try:",
        "    print('works', flush=True)",
        "    time.sleep(1000)",  # until the signal
        "finally:",
        f"    open({str(ended)!r}, 'w').close()",
    )
    command = program(*lines)
    command[-1] = command[-1].replace(
        "status = in_",
        "from guestkit.cli.ending import ended_by_signals\nwith ended_by_signals(): status = in_",
    )
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)
        assert process.stdout.read() == b""
        assert process.wait(60) != 0
    assert ended.exists()
