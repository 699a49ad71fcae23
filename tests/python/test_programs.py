"""The other programs that guestkit runs, pretended: what they say, and what is waited for."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from guestkit import Error, _nbdkit, _template, fuse
from guestkit._programs import LOST, running, signals_held, status
from guestkit.cli.ending import Terminated, ended_by_signals
from guestkit.cli.shell import paging


def test_a_mount_in_use_was_not_said_to_be_busy_in_another_language(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "fusermount3"
    program.write_text(
        "#!/bin/sh\n"
        'case $LC_ALL in C) echo "umount: target is busy." ;; *) echo "umount: cible occupée" ;; esac >&2\n'
        "exit 1\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("LC_ALL", "fr_FR.UTF-8")
    mount = fuse.Mount(directory=str(tmp_path), server=1, dedicated=False, user=0, readonly=True)
    monkeypatch.setattr(fuse, "mount_at", lambda path: mount)
    with pytest.raises(Error, match="is in use") as caught:
        fuse.unmount(tmp_path)
    assert caught.value.errno == errno.EBUSY


def test_what_was_still_mounted_was_unmounted_where_the_status_was_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "fusermount3"
    program.write_text("#!/bin/sh\necho 'umount: target is busy.' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    mount = fuse.Mount(directory=str(tmp_path), server=1, dedicated=False, user=0, readonly=True)
    monkeypatch.setattr(fuse, "mount_at", lambda path: mount)
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with pytest.raises(Error, match="is in use"):
            fuse.unmount(tmp_path)
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_with_1024_open_files_nothing_could_be_waited_for() -> None:
    """select(2) takes no larger descriptors; a server has them."""
    program = """if True:
        import os, resource, socket, subprocess, time
        from guestkit import _nbdkit, _template, fuse

        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(2048, most), most))
        null = os.open("/dev/null", os.O_RDONLY)
        while os.dup(null) < 1024:
            pass
        server = subprocess.Popen(["echo", "/socket"], stdout=subprocess.PIPE)
        print(_nbdkit._socket(server, lambda: None))
        server.wait()
        ours, its = socket.socketpair()
        its.sendall(b"ready\\n")
        print(_template._line(ours, time.monotonic() + 60).decode(), end="")
        waited = subprocess.Popen(["true"])
        process = os.pidfd_open(waited.pid)
        print(fuse._has_ended(process, 1e9), process > 1023)
        waited.wait()
    """
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr) == ("/socket\nready\nTrue True\n", "")


ENDLESS = ("editor", "nbdkit", "hypervisor", "virsh")


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A signal comes once an endless program runs, before Popen returns; the list gets the program."""
    begun: list[Any] = []

    start = subprocess.Popen.__init__

    def late(program: Any, *arguments: Any, **options: Any) -> None:
        start(program, *arguments, **options)
        if Path(arguments[0][0]).name in ENDLESS:
            begun.append(program)
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(subprocess.Popen, "__init__", late)
    return begun


def _serves(folder: str) -> None:
    with _nbdkit.serving("add_drive", "http://127.0.0.1/disk", folder, lambda: None):
        pass


def _saves(folder: str) -> None:
    Path(folder, "qemu-img").symlink_to("/bin/true")
    _template._snapshot(Path(folder), Path(folder), 0, shared=False)


def _runs(folder: str) -> None:
    with running([f"{folder}/virsh"]):
        pass


def _edits(folder: str) -> None:
    paging.run([f"{folder}/editor"], reads=False)


@pytest.mark.parametrize("start", [_runs, _serves, _saves, _edits])
def test_a_program_outlived_guestkit_that_was_ended_while_it_started(
    start: Callable[[str], object], late: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An editor went on in the terminal, a hypervisor in the background."""
    for name in ENDLESS:
        (tmp_path / name).write_text("#!/bin/sh\nexec sleep 60\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(Terminated), ended_by_signals():
        start(str(tmp_path))
    assert [program.returncode is None for program in late] == [False]


def test_the_first_of_two_signals_held_ends_the_program() -> None:
    came: list[int] = []

    def handler(number: int, frame: object) -> None:
        came.append(number)
        if number == signal.SIGUSR1:
            raise InterruptedError

    before = {number: signal.signal(number, handler) for number in (signal.SIGUSR1, signal.SIGUSR2)}
    try:
        with pytest.raises(InterruptedError), signals_held() as release:
            signal.raise_signal(signal.SIGUSR1)
            signal.raise_signal(signal.SIGUSR2)
            assert came == []
            release()
        assert came == [signal.SIGUSR1, signal.SIGUSR2]
        assert signal.getsignal(signal.SIGUSR1) is handler
    finally:
        for number, was in before.items():
            signal.signal(number, was)


def test_the_handler_of_a_signal_held_was_told_no_frame() -> None:
    """A profiler looks at the frame, and raised AttributeError out of the start of the program."""
    interrupted: list[str] = []

    def handler(number: int, frame: Any) -> None:
        interrupted.append(frame.f_code.co_name)

    def works() -> None:
        signal.raise_signal(signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with signals_held():
            works()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert interrupted == ["works"]


@pytest.mark.parametrize("script", ["exit 3", "kill -9 $$", "exit 0"])
def test_a_program_that_failed_had_succeeded_where_its_status_was_lost(script: str) -> None:
    with running(["sh", "-c", script]) as program:
        known = program.wait()
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with running(["sh", "-c", script]) as program:
            assert (program.wait(20), program.poll(), program.returncode) == (LOST,) * 3
        with running(["sh", "-c", script]) as program:
            assert program.wait() == LOST
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert known == {"exit 3": 3, "kill -9 $$": -9, "exit 0": 0}[script]


def test_a_program_that_runs_has_no_status() -> None:
    with running(["sleep", "60"]) as program:
        assert status(program, 0) is None
        assert program.poll() is None
    assert program.returncode == -signal.SIGKILL
