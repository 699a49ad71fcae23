"""Make signals end the command like Ctrl-C: running work is stopped and nothing is left behind.

The exception carries a note that says what was done so far; the command prints it at its end.
"""

from __future__ import annotations

import atexit
import math
import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGHUP)

#: All that may end the command.
ENDING = (signal.SIGINT, *SIGNALS)

#: For how long a clean-up is not interrupted by a further signal, in seconds.
_CLEAN_UP = 10.0


class Terminated(KeyboardInterrupt):
    """The process received a signal that ends it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = number


@contextmanager
def noting(done: str | Callable[[], str]) -> Generator[None, None, None]:
    """Add a note of what was done to an interruption, unless an inner block, which knows more, has one."""
    try:
        yield
    except KeyboardInterrupt as ended:
        if not notes(ended):
            ended.add_note(done if isinstance(done, str) else done())
        raise


def status_of(ended: KeyboardInterrupt) -> int:
    """Return the exit status of a command that a signal has ended."""
    return 128 + (ended.signal if isinstance(ended, Terminated) else signal.SIGINT)


def end_by_signal(status: int) -> None:
    """If the exit status tells that a signal has ended the command, end the process by that signal.

    A shell would take an ordinary exit for Ctrl-C dealt with, and go on with its loop; systemd would call a
    service failed that it has stopped. Process 1, as in a container, is not ended by its own signal.

    Of what an exit does, only the functions of atexit run: no thread is waited for, as that might take for
    ever, and neither run the hooks by which concurrent.futures waits for its own.
    """
    number = status - 128
    if number in ENDING:
        signal.signal(number, signal.SIG_DFL)
        atexit._run_exitfuncs()  # for what an interrupted clean-up has left
        signal.raise_signal(number)


def notes(ended: BaseException) -> list[str]:
    """Return the notes of the exception."""
    return list(getattr(ended, "__notes__", []))


@contextmanager
def ended_by_signals() -> Generator[None, None, None]:
    """Make the first of these signals raise Terminated in the main thread; an ignored one stays so (nohup).

    Those that follow at once do nothing, since they would interrupt the clean-up: a terminal that is closed
    sends SIGHUP twice, systemd SIGTERM and then SIGHUP. Ctrl-C does interrupt it, and so does a signal after
    ten seconds: Python drops an exception in a destructor, and with it the first one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    heeded = -math.inf

    def end(number: int, frame: FrameType | None) -> None:  # not SIG_IGN, which programs would inherit
        nonlocal heeded
        if time.monotonic() - heeded >= _CLEAN_UP:
            heeded = time.monotonic()
            raise Terminated(number)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    handled = [number for number, handler in before.items() if handler is signal.SIG_DFL]
    for number in handled:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, before[number])
