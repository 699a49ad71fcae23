"""Calls that freeze programs with libguestfs' own module do not freeze them here: the tests run both.

A thread of a program launches with a hypervisor that waits, or calls add_drive with a qemu-img that waits,
until the test releases it. Meanwhile a second thread makes a call, and a third one prints ticks; it prints
none while the GIL is held.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from guestkit import Error, Event, Guestfs

PATIENCE = 20  # seconds to wait for expected output
FROZEN = 1.5  # seconds without a tick that count as frozen; normally there are a hundred per second

PROGRAM = """
import sys, threading, time
sys.path.append("/usr/lib/python3/dist-packages")
kind, scenario, disk, hypervisor, appliance = sys.argv[1:]
if kind == "guestkit":
    import guestkit.compat as guestfs
else:
    import guestfs

def say(word):
    sys.stdout.write(word + "\\n")
    sys.stdout.flush()

def ticks():
    while True:
        say("tick")
        time.sleep(0.01)

g = guestfs.GuestFS()
g.set_hv(hypervisor)
g.set_path(appliance)
if scenario == "getter with a callback":
    g.set_event_callback(lambda *event: None, guestfs.EVENT_ALL)
if scenario == "add_drive":
    blocking = lambda: g.add_drive_ro(disk)  # makes qemu-img create an overlay
else:
    g.add_drive(disk, format="raw")
    blocking = g.launch

def use():
    say("using")
    try:
        if scenario == "close":
            g.close()
        elif scenario == "error":
            g.set_memsize(1)  # fails: the binding reads the error
        elif scenario != "add_drive":
            g.get_memsize()
    except Exception as error:
        say(type(error).__name__)
    say("used")

def block():
    say("blocking")
    try:
        blocking()
    except Exception as error:
        say(type(error).__name__)

threading.Thread(target=ticks, daemon=True).start()
blocked = threading.Thread(target=block, daemon=True)
blocked.start()
sys.stdin.readline()  # the hypervisor runs
user = threading.Thread(target=use, daemon=True)
user.start()
user.join()
blocked.join()
say("end")
"""


class Program:
    """The program, its output line by line, and the FIFOs of the process that it waits for."""

    def __init__(self, kind: str, scenario: str, folder: Path, appliance: Path) -> None:
        self.started, self.released = folder / "started", folder / "released"
        for fifo in (self.started, self.released):
            os.mkfifo(fifo)
        waiting = f"#!/bin/sh\necho x > '{self.started}'\nread line < '{self.released}'\nexit 1\n"
        tools = folder / "tools"
        tools.mkdir()
        blocker = tools / ("qemu-img" if scenario == "add_drive" else "hypervisor")
        blocker.write_text(waiting)
        blocker.chmod(0o755)
        disk = folder / "disk"
        disk.write_bytes(bytes(4096))
        self._started = os.open(self.started, os.O_RDWR)
        self._released = os.open(self.released, os.O_RDWR)
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, kind, scenario, disk, tools / "hypervisor", appliance],
            env=os.environ
            | {
                "PATH": f"{tools}:{os.environ['PATH']}",
                "LIBGUESTFS_BACKEND": "direct",
                "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg",
                "LIBGUESTFS_CACHEDIR": str(folder),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._buffer = b""

    def line(self, seconds: float) -> str | None:
        """Return the next line of output; None if there is none in time."""
        assert self.process.stdout is not None
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([self.process.stdout], [], [], seconds)
            chunk = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            if not chunk:
                return None
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode()

    def wait_for(self, word: str) -> None:
        while (line := self.line(PATIENCE)) != word:
            assert line is not None, f"the program has not printed {word!r}"

    def wait_until_blocked(self) -> None:
        ready, _, _ = select.select([self._started], [], [], PATIENCE)
        assert ready, "the call has not started the program that it waits for"

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def ticks(self, count: int, seconds: float) -> bool:
        """Return whether that many more ticks arrive, each within that time."""
        while count > 0:
            line = self.line(seconds)
            if line is None:
                return False
            count -= line == "tick"
        return True

    def release(self) -> None:
        os.write(self._released, b"\n" * 10)

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.release()
        os.close(self._started)
        os.close(self._released)


@pytest.fixture
def program(request: pytest.FixtureRequest, tmp_path: Path, appliance: Path) -> Iterator[Program]:
    kind, scenario = request.param
    program = Program(kind, scenario, tmp_path, appliance)
    yield program
    program.close()


SCENARIOS = ["getter", "getter with a callback", "close", "error"]


@pytest.mark.parametrize("program", [("guestkit", s) for s in SCENARIOS], indirect=True, ids=SCENARIOS)
def test_a_call_beside_a_launch_does_not_freeze_the_program(program: Program) -> None:
    program.wait_for("blocking")
    program.wait_until_blocked()
    program.go_on()
    program.wait_for("using")
    assert program.ticks(100, FROZEN)
    program.release()
    program.wait_for("used")
    program.wait_for("end")
    assert program.process.wait(PATIENCE) == 0


@pytest.mark.parametrize("program", [("upstream", s) for s in SCENARIOS], indirect=True, ids=SCENARIOS)
def test_the_same_call_freezes_it_with_upstream_s_module(program: Program) -> None:
    program.wait_for("blocking")
    program.wait_until_blocked()
    program.go_on()
    program.wait_for("using")
    assert not program.ticks(100, FROZEN)


@pytest.mark.parametrize(
    ("program", "freezes"),
    [(("guestkit", "add_drive"), False), (("upstream", "add_drive"), True)],
    indirect=["program"],
    ids=["guestkit", "upstream"],
)
def test_add_drive_runs_qemu_img_without_the_gil(program: Program, freezes: bool) -> None:
    program.wait_for("blocking")
    program.wait_until_blocked()
    assert program.ticks(100, FROZEN) is not freezes
    program.release()


#: Asks about a directory of a filesystem that does not answer, until the connection to that is closed.
ASK = """
import contextlib, ctypes, os, sys, threading
from pathlib import Path
from guestkit import Error, _native
question, directory = sys.argv[1:]
connection = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={connection},rootmode=40000,user_id=0,group_id=0".encode()
if ctypes.CDLL(None).mount(b"silent", directory.encode(), b"fuse", 0, options) != 0:
    sys.exit("no mount")

def ask():
    with contextlib.suppress(Error):
        getattr(_native, question)(directory + "/within")

thread = threading.Thread(target=ask)
thread.start()
state = Path(f"/proc/self/task/{thread.native_id}/stat")
while ") D " not in state.read_text():
    assert thread.is_alive()
os.close(connection)
thread.join()
print("told")
"""


@pytest.mark.skipif(os.geteuid() != 0 or not os.access("/dev/fuse", os.W_OK), reason="only root mounts it")
@pytest.mark.parametrize(
    "question", ["appliance_fault", "template_reason", "private_directory_fault", "mountpoint"]
)
def test_a_filesystem_that_did_not_answer_froze_the_program(
    question: str, python: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    try:
        asked = python(ASK, question, tmp_path)
    finally:
        subprocess.run(["umount", "-l", tmp_path], stderr=subprocess.DEVNULL, check=False)
    if "no mount" in asked.stderr:
        pytest.skip("this host does not let root mount")
    assert asked.stdout == "told\n", asked.stderr


def test_eight_threads_on_four_handles_with_callbacks(watchdog: None) -> None:
    """Make calls, deliver events, and end registrations and handles, all at once."""
    handles = [Guestfs(environment=False) for _ in range(4)]
    calls, told = 2000, [0] * 4

    def count(number: int) -> None:
        told[number] += 1

    def work(number: int) -> None:
        handle, other = handles[number % 4], handles[(number + 1) % 4]
        for turn in range(calls):
            assert handle.get_memsize() == 1280
            with contextlib.suppress(Error):
                other.set_memsize(1)
            if turn % 100 == 0:
                handle.delete_event_callback(handle.set_event_callback(lambda *event: None))

    for number, handle in enumerate(handles):
        handle.set_event_callback(lambda *event, number=number: count(number), Event.ENTER)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    for handle in handles:
        handle.close()
    assert min(told) >= 2 * 2 * calls
