"""Other programs that run while a call on a handle lasts: its limit and its cancel end them."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import IO, Protocol

#: How often to look whether the call is to end, in seconds.
STEP = 0.1

#: Where an exit status should be, but nobody knows how the program ended: this process ignores SIGCHLD, or
#: another part of it waits for any child. No program ends with such a number.
LOST = 256


def lost(program: str) -> str:
    """Return the message for a program whose status is LOST; its errno is ECHILD."""
    return (
        f"it is not known how {program} ended: this process ignores SIGCHLD, or waits elsewhere for any child"
    )


class TooLong(Exception):
    """A program has used up the patience with it. No TimeoutError, since `beat` may raise one."""


class _Open(Protocol):
    def fileno(self) -> int: ...


def readable(sources: Sequence[int | _Open], seconds: float) -> Sequence[int]:
    """Return the descriptors of those that have something to read or are at their end.

    Waits at most that long. select(2) would refuse descriptors above 1023, which a server has.
    """
    poll = select.poll()
    for source in sources:
        poll.register(source, select.POLLIN)
    return [ready for ready, _ in poll.poll(min(max(0.0, seconds) * 1000, 2**31 - 1))]


def status(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """Return the exit status, of a Program also LOST; None: it still runs after those seconds."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None


class Program(subprocess.Popen[bytes]):
    """A program that has ended with 0 only if that is known. Popen takes a status that is lost for 0."""

    def poll(self) -> int | None:
        """Return the exit status, LOST included; None: it still runs."""
        self._look(os.WNOHANG)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status, LOST included; TimeoutExpired: it still runs after those seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        self._look(0 if deadline is None else os.WNOHANG)
        while deadline is not None and self.returncode is None:
            if time.monotonic() >= deadline:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            time.sleep(0.01)
            self._look(os.WNOHANG)
        return self.returncode

    def _look(self, how: int) -> None:
        if self.returncode is not None:
            return
        try:
            # It stays there to be asked again: an exception of a signal may come before the answer is kept.
            ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | how)
        except ChildProcessError:
            self.returncode = LOST
            return
        if ended is not None:
            exited = ended.si_code == os.CLD_EXITED
            self.returncode = ended.si_status if exited else -ended.si_status
            with suppress(ChildProcessError):
                os.waitid(os.P_PID, self.pid, os.WEXITED)


@contextmanager
def signals_held() -> Iterator[Callable[[], None]]:
    """Hold what this program does on signals until the yielded function is called or the context ends.

    For the start of a program: a handler that raises within Popen, as that of Ctrl-C does, loses the program
    that Popen has just started. The signals are not blocked, since the program would inherit that.
    """
    if threading.current_thread() is not threading.main_thread():  # handlers run in the main thread alone
        yield lambda: None
        return
    handlers = {
        int(number): handler
        for number in signal.valid_signals()
        if callable(handler := signal.getsignal(number))
    }
    held: list[int] = []
    came: list[tuple[int, FrameType | None]] = []

    def hold(number: int, frame: FrameType | None) -> None:
        came.append((number, frame))

    def release() -> None:
        while held:
            signal.signal(held[-1], handlers[held[-1]])
            held.pop()
        while came:
            number, frame = came.pop(0)
            handlers[number](number, frame)

    try:
        for number in handlers:
            held.append(number)
            signal.signal(number, hold)
        yield release
    finally:
        release()


@contextmanager
def running(
    words: Sequence[str],
    *,
    stdout: int = subprocess.DEVNULL,
    stderr: int = subprocess.DEVNULL,
    terminal: bool = False,
) -> Iterator[Program]:
    """Run a program without input. At the end of the context it is killed if it still runs.

    terminal: False: it has no terminal, so that it asks nobody for a password, and what it has started is
        killed with it. True: it is in this program's group of processes, so that what ends the group, such as
        Ctrl-C, ends it as well; it must start no other program, which nobody would kill
    """
    with (
        signals_held() as release,
        Program(
            words, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, start_new_session=not terminal
        ) as process,
    ):
        try:
            release()
            yield process
        finally:
            if process.poll() is None:  # else the number may be another program's by now
                (os.kill if terminal else os.killpg)(process.pid, signal.SIGKILL)


def pieces(
    pipes: Sequence[IO[bytes]], beat: Callable[[], object], patience: float
) -> Iterator[tuple[IO[bytes], bytes]]:
    """Yield what comes out of the pipes, as it comes, until all are at their end.

    Raises TooLong after `patience`, in seconds.

    beat: called many times a second; an exception from it ends the reading
    """
    left = {pipe.fileno(): pipe for pipe in pipes}
    deadline = time.monotonic() + patience
    while left:
        beat()
        if time.monotonic() > deadline:
            raise TooLong
        for descriptor in readable(list(left), STEP):
            piece = os.read(descriptor, 1 << 16)
            if piece:
                yield left[descriptor], piece
            else:
                del left[descriptor]
