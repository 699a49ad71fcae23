"""Runs a program in a pseudo-terminal, and shows the screen that a person would see."""

from __future__ import annotations

import os
import sys
import termios
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import pexpect
import pyte

#: Seconds; only something that hangs takes longer.
PATIENCE = 60


class Terminal:
    """Runs `python ARGUMENTS…` in a terminal of 80 by 40; `raw` is all the output so far."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        cwd: str | os.PathLike[str],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.raw = b""
        self._screen = pyte.Screen(80, 40)
        self._stream = pyte.ByteStream(self._screen)
        clean = {
            name: value
            for name, value in os.environ.items()
            if name not in ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "COLUMNS", "LINES", "TTY_COMPATIBLE")
        }
        self._process: pexpect.spawn[bytes] = pexpect.spawn(
            sys.executable,
            list(arguments),
            dimensions=(40, 80),
            cwd=os.fspath(cwd),
            env={**clean, "TERM": "xterm-256color", "PYTHONUTF8": "1", **(environment or {})},
            timeout=PATIENCE,
        )
        # On Ctrl-C, a terminal discards pending output, so that screens would depend on timing.
        modes = termios.tcgetattr(self._process.child_fd)
        modes[3] |= termios.NOFLSH
        termios.tcsetattr(self._process.child_fd, termios.TCSANOW, modes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.close(force=True)

    def _read(self) -> bool:
        try:
            chunk = self._process.read_nonblocking(65536, timeout=PATIENCE)
        except pexpect.EOF:
            return False
        self.raw += chunk
        self._stream.feed(chunk)
        return True

    def until(self, text: str) -> str:
        """Wait until the screen shows the text; return the screen."""
        while text not in self.screen():
            assert self._read(), f"the program ended, and the screen shows no {text!r}:\n{self.screen()}"
        return self.screen()

    def screen(self) -> str:
        """Return the screen's lines."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip() + "\n"

    @property
    def title(self) -> str:
        """Return the terminal's title."""
        return str(self._screen.title)

    @property
    def has_cursor(self) -> bool:
        """Return whether the cursor is shown."""
        return not self._screen.cursor.hidden

    def send(self, keys: str) -> None:
        """Type the keys."""
        self._process.send(keys)

    def kill(self, number: int) -> None:
        """Send the program a signal."""
        self._process.kill(number)

    def end(self) -> int:
        """Wait until the program has ended; return its exit status, or the negated number of a signal."""
        while self._read():
            pass
        self._process.wait()
        if self._process.exitstatus is not None:
            return int(self._process.exitstatus)
        return -int(self._process.signalstatus or 0)
