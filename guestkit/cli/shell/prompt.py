"""The prompt: what a person types, by prompt_toolkit. Without that, importing this module raises Error."""

from __future__ import annotations

import contextlib
import os
import posixpath
import signal
import threading
from collections.abc import Generator, Iterable
from pathlib import Path
from types import FrameType

from guestkit import _native
from guestkit._extras import missing
from guestkit.cli.shell.actions import takes_key
from guestkit.cli.shell.command import Leave
from guestkit.cli.shell.completion import candidates
from guestkit.cli.shell.parsing import Unfinished, commands
from guestkit.cli.shell.running import run_line
from guestkit.cli.shell.session import Session
from guestkit.cli.text import printable

try:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import CompleteEvent, Completer, Completion
    from prompt_toolkit.document import Document
    from prompt_toolkit.history import FileHistory, History, InMemoryHistory
except ModuleNotFoundError:
    raise missing("shell", "prompt_toolkit", "a prompt, unlike -c and stdin,", "shell") from None

#: How long after Ctrl-C it is told that a call goes on, in seconds.
_SOON = 1.0


class _Completions(Completer):
    """What fits to the line, for prompt_toolkit."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get_completions(self, document: Document, event: CompleteEvent) -> Iterable[Completion]:
        line = document.text_before_cursor
        for one in candidates(self._session, line):
            yield Completion(one.text, one.start - len(line), display=one.shown)


def converse(session: Session, disk: str) -> int:
    """Run what a person types until Ctrl-D or `exit`; return the exit status."""
    asking: PromptSession[str] = PromptSession(
        history=history(session),
        completer=_Completions(session),
        complete_while_typing=False,  # each time the guest is asked
        complete_in_thread=True,
    )
    name = printable(posixpath.basename(disk.rstrip("/")) or disk)
    session.screen.note("help tells what there is, Ctrl-D leaves")
    while True:
        try:
            line = asking.prompt(f"{name}:{printable(session.cwd)}{'#' if session.writable else '>'} ")
            with _told_of_patience(session):
                run_line(session, line)
        except (EOFError, Leave):  # Ctrl-D, exit
            return 0
        except KeyboardInterrupt as ended:
            if type(ended) is not KeyboardInterrupt:  # a signal that ends the program
                raise


@contextlib.contextmanager
def _told_of_patience(session: Session) -> Generator[None, None, None]:
    """After Ctrl-C in a guest that is written to, tell that the call may go on, and what ends it."""
    waiting: list[threading.Timer] = []

    def tell() -> None:
        text = "waiting ten seconds for the call to end; Ctrl-C again kills the appliance, and what the guest"
        session.screen.tell("info", f"{text} has not yet written to the disk is lost")

    def interrupt(number: int, frame: FrameType | None) -> None:
        if session.writable and not waiting:
            waiting.append(threading.Timer(_SOON, tell))
            waiting[0].start()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        for timer in waiting:
            timer.cancel()


# ---- history


def history_file() -> Path:
    """Return the file in the user's state directory that has what was typed."""
    state = os.environ.get("XDG_STATE_HOME", "")
    folder = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
    return folder / "guestkit" / "shell_history"


class _Kept(FileHistory):
    """A history without what is nobody's business."""

    def store_string(self, string: str) -> None:
        if _is_kept(string):
            super().store_string(string)


def history(session: Session) -> History:
    """Return what was typed before. Where it cannot be kept, it is told, and kept for this time only."""
    try:
        path = history_file()
        if fault := _native.make_directory(path.parent, 0o700):
            raise OSError(fault)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        os.chmod(path, 0o600)
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home directory
        session.screen.note(f"what you type is not kept: {error}")
        return InMemoryHistory()
    return _Kept(str(path))


def _is_kept(line: str) -> bool:
    """Return whether a line may be kept: not one with a key, or with bytes that are no text."""
    try:
        line.encode()
        return not any(map(takes_key, commands(line)))
    except (UnicodeEncodeError, Unfinished):
        return False
