"""Signals that end the command: as Ctrl-C does, so that what runs is ended and nothing is left behind.

The exception carries a note of what was done until then, which the command tells at its end.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class Terminated(KeyboardInterrupt):
    """A signal has come that ends the process."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = number


@contextmanager
def noting(done: str | Callable[[], str]) -> Generator[None, None, None]:
    """Have an interruption of the block note what was done, unless what is inside it has: that knows more."""
    try:
        yield
    except KeyboardInterrupt as ended:
        if not notes(ended):
            ended.add_note(done if isinstance(done, str) else done())
        raise


def notes(ended: BaseException) -> list[str]:
    """Return what was noted."""
    return list(getattr(ended, "__notes__", []))


@contextmanager
def ended_by_signals() -> Generator[None, None, None]:
    """Have these signals raise Terminated in the main thread; one that is ignored stays so (nohup)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
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
