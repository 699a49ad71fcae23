"""A process with a running appliance ends without a crash or hang, and leaves no QEMU and no files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from guestkit import Guestfs

PATIENCE = 120  # seconds, including a launch

#: Launches with a callback, prints QEMU's process id, then ends in the requested way.
PROGRAM = """
import os, signal, subprocess, sys, threading
import guestkit
how = sys.argv[1]
g = guestkit.Guestfs()
g.set_event_callback(lambda *event: None)
g.add_drive_scratch(1 << 20)
g.launch()
print(g.get_pid(), flush=True)
if how == "fork":
    child = os.fork()
    if child == 0:
        try:
            g.list_devices()
        except guestkit.HandleClosed:
            del g
            sys.exit(7)  # with all of Python's exit functions
        sys.exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert g.list_devices() == ["/dev/sda"]
elif how == "daemon thread":
    begun = threading.Event()
    g.set_event_callback(lambda *event: begun.set(), guestkit.Event.ENTER)
    threading.Thread(target=g.debug, args=("sh", ["sleep", "1000"]), daemon=True).start()
    begun.wait()
elif how == "exec":
    os.execvp("true", ["true"])
elif how == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
elif how == "exception":
    raise SystemError("on its way")
"""


def runs(pid: int) -> bool:
    """Return whether the process is running; a zombie is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def ended(tmp_path: Path) -> Iterator[Callable[[str], tuple[int, int]]]:
    """Run the program to its end; return its exit status and QEMU's process id."""
    pids: list[int] = []

    def ended(how: str) -> tuple[int, int]:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, how],
            env=os.environ | {"LIBGUESTFS_TMPDIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        assert "ApplianceKilled" not in done.stderr  # as a daemon thread might print
        pids.append(int(done.stdout))
        return done.returncode, pids[0]

    yield ended
    for pid in pids:
        if runs(pid):
            os.kill(pid, signal.SIGKILL)


def wait_until_gone(pid: int) -> None:
    """Wait for QEMU to end: a second process checks every two seconds whether QEMU's parent still runs."""
    subprocess.run(
        ["timeout", "20", "tail", "--pid", str(pid), "-s", "0.1", "-f", "/dev/null"],
        check=False,
    )
    assert not runs(pid), "QEMU still runs"


@pytest.mark.parametrize(
    ("how", "status"), [("exit", 0), ("fork", 0), ("exception", 1), ("daemon thread", 0), ("kill", -9)]
)
def test_no_qemu_stays_when_the_process_ends(
    ended: Callable[[str], tuple[int, int]], tmp_path: Path, how: str, status: int
) -> None:
    code, pid = ended(how)
    assert code == status
    wait_until_gone(pid)
    if how != "kill":
        assert list(tmp_path.iterdir()) == []


def sockets(scratch: Path) -> list[Path]:
    """Return the directories that libguestfs made for the sockets of that process' handles."""
    return [Path(note.read_text()) for note in scratch.glob("sockets-of-*")]


def test_what_a_killed_process_left_is_gone_after_the_next_one(
    ended: Callable[[str], tuple[int, int]], tmp_path: Path
) -> None:
    ended("kill")
    (left,) = tmp_path.iterdir()
    assert left.stat().st_mode & 0o777 == 0o700
    (elsewhere,) = sockets(left)
    assert elsewhere.is_dir()
    subprocess.run(
        [sys.executable, "-c", "import guestkit; guestkit.Guestfs().close()"],
        env=os.environ | {"LIBGUESTFS_TMPDIR": str(tmp_path)},
        check=True,
    )
    assert list(tmp_path.iterdir()) == []
    assert not elsewhere.exists()


def test_the_directory_of_a_living_appliance_s_socket_is_not_swept(tmp_path: Path) -> None:
    program = "import guestkit; guestkit.Guestfs().close()"
    with Guestfs(environment=False) as g:
        g.set_tmpdir(tmp_path)
        g.add_drive_scratch(1 << 20)
        g.launch()
        (mine,) = tmp_path.glob("guestkit-*")
        (directory,) = sockets(mine)
        environment = os.environ | {"LIBGUESTFS_TMPDIR": str(tmp_path)}
        subprocess.run([sys.executable, "-c", program], env=environment, check=True)
        g.shutdown()
        g.add_drive_scratch(1 << 20)
        g.launch()  # which uses the same directory
        assert sockets(mine) == [directory]
    assert not directory.exists()
