"""The terminal: all output of the commands goes through here.

Only the result goes to stdout; notes, warnings, errors and progress go to stderr. Code that puts a guest's
text into a line must escape it (`printable`). rich's markup is off, so that "[red]" in a name stays a name.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager, suppress

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from guestkit.cli import progress
from guestkit.cli.log_line import as_json
from guestkit.cli.streams import writing
from guestkit.cli.text import one_line, printable
from guestkit.fleet import FleetProgress


class Screen:
    """stdout and stderr of one run of the command. Any thread may write."""

    def __init__(self, *, quiet: bool = False, log_json: bool = False) -> None:
        #: What a script is at, such as "line 7: ", before each message.
        self.place = ""
        self._quiet = quiet
        self._json = log_json
        self._out = Console(file=sys.stdout, markup=False, highlight=False, emoji=False)
        self._err = Console(file=sys.stderr, markup=False, highlight=False, emoji=False)
        self._shown: RenderableType | None = None
        self._live: Live | None = None
        self._lock = threading.RLock()

    @property
    def is_terminal(self) -> bool:
        """Whether stdout is a terminal that people read."""
        return self._out.is_terminal and not self._out.is_dumb_terminal

    @property
    def shows_progress(self) -> bool:
        """Whether stderr is a terminal, and progress is wanted."""
        return self._err.is_terminal and not (self._err.is_dumb_terminal or self._quiet or self._json)

    def write(self, text: str) -> None:
        """Write to stdout."""
        with self._beside_progress(), writing():
            sys.stdout.write(text)
            sys.stdout.flush()

    def write_bytes(self, content: bytes) -> None:
        """Write raw bytes to stdout, regardless of its encoding."""
        with self._beside_progress(), writing():
            sys.stdout.flush()
            sys.stdout.buffer.write(content)
            sys.stdout.buffer.flush()

    def show(self, what: RenderableType) -> None:
        """Render for a terminal."""
        with self._beside_progress():
            self._out.print(what)

    def show_lines(self, lines: Iterable[Text]) -> None:
        """Write lines of any length: with styles to a terminal, without styles to a pipe."""
        if self.is_terminal:
            with self._beside_progress():
                for line in lines:
                    self._out.print(line, soft_wrap=True)
        else:
            self.write("".join(f"{line.plain}\n" for line in lines))

    def note(self, text: str) -> None:
        """Print a note to stderr, except with -q; the text is escaped here."""
        if not self._quiet:
            self.tell("info", text)

    def tell(self, level: str, text: str) -> None:
        """Write a line to stderr: "debug", "info", "warning", "error"; the text is escaped here.

        Where stderr cannot be written, since its reader or the terminal is gone, nobody is told, and the
        work goes on: a thread that logs a warning is not to fail by that.
        """
        text = self.place + text
        self._tell(level, text, f"guestkit: {'' if level == 'info' else f'{level}: '}{one_line(text)}")

    def tell_traceback(self, error: BaseException) -> None:
        """Write to stderr where the error comes from, as `tell` does, line by line."""
        for line in "".join(traceback.format_exception(error)).splitlines():
            self._tell("error", line, printable(line))

    def _tell(self, level: str, text: str, line: str) -> None:
        if self._json:
            line = as_json(level, text)
        with suppress(OSError), self._beside_progress():
            print(line, file=sys.stderr, flush=True)

    @contextmanager
    def _beside_progress(self) -> Generator[None, None, None]:
        """Hide the progress while something else is written, possibly to the same terminal."""
        with self._lock:
            shown = self._shown
            self._show_progress(None)
            try:
                yield
            finally:
                self._show_progress(shown)

    # ---- progress

    def _show_progress(self, what: RenderableType | None) -> None:
        """Show this at the bottom of the terminal, in a new Live: a restarted one would erase too much."""
        with self._lock:
            if self._live is not None:
                self._live.stop()
                self._live = None
            self._shown = what
            if what is not None:
                self._live = Live(
                    what,
                    console=self._err,
                    transient=True,
                    refresh_per_second=8,
                    redirect_stdout=False,
                    redirect_stderr=False,
                )
                self._live.start()

    @contextmanager
    def _running(self, what: RenderableType) -> Generator[None, None, None]:
        self._show_progress(what)
        try:
            yield
        finally:
            self._show_progress(None)

    @contextmanager
    def _patience(self) -> Generator[Callable[[Mapping[str, str]], None], None, None]:
        """If no progress is shown, report once what takes long. Yields a function that takes the steps."""
        patience = progress.Patience(self.note)
        try:
            yield patience.follow
        finally:
            patience.end()

    @contextmanager
    def steps(self, title: str) -> Generator[Callable[[str], None], None, None]:
        """Show the progress of one disk; yields a function that takes its current step."""
        if not self.shows_progress:
            with self._patience() as follow:
                follow({title: ""})
                yield lambda text: follow({title: text})
            return
        view = progress.Steps(self._err, title)
        with self._running(view.renderable):
            yield view.tell

    @contextmanager
    def transfer(
        self, title: str, *, of_bytes: bool = True
    ) -> Generator[Callable[[float, float], None], None, None]:
        """Show the progress of a transfer; yields a function that takes the amount done and the total."""
        if not self.shows_progress:
            yield lambda done, total: None
            return
        view = progress.Transfer(self._err, title, of_bytes)
        with self._running(view.renderable):
            yield view.tell

    @contextmanager
    def fleet(self, total: int) -> Generator[Callable[[FleetProgress], None] | None, None, None]:
        """Show the progress of a fleet; yields a function that takes it, or None with -q."""
        if self._quiet:
            yield None
            return
        if not self.shows_progress:
            with self._patience() as follow:
                yield lambda progress: follow(progress.steps)
            return
        view = progress.Fleet(self._err, total)
        with self._running(view.renderable):
            yield view.tell


class _Handler(logging.Handler):
    def __init__(self, screen: Screen) -> None:
        super().__init__()
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        self._screen.tell(record.levelname.lower(), record.getMessage())


@contextmanager
def logging_to(screen: Screen, verbosity: int) -> Generator[None, None, None]:
    """Send the logger "guestkit" to the screen: errors at -1, warnings at 0, INFO at 1, DEBUG from 2."""
    levels = (logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG)
    log = logging.getLogger("guestkit")
    handler = _Handler(screen)
    before = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(levels[min(verbosity + 1, 3)])
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before[0])
        log.propagate = before[1]
