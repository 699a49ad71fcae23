"""Programs of this host in the foreground of the terminal: a pager, an editor."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Generator, Sequence
from types import FrameType

from guestkit._programs import Program, signals_held
from guestkit.cli import contents
from guestkit.cli.ending import Terminated
from guestkit.cli.shell.session import Session
from guestkit.cli.usage import UsageError

Handler = Callable[[int, FrameType | None], None]

#: How long a program that is asked to end may take, in seconds.
PATIENCE = 10.0


def program(variables: Sequence[str], default: str) -> list[str]:
    """Return the command in the first of the environment's variables that is set, else the default.

    Raises UsageError if it has a quote without its end.
    """
    name = next((name for name in variables if os.environ.get(name)), "")
    try:
        return shlex.split(os.environ.get(name, default)) or [default]
    except ValueError as error:
        raise UsageError(f"{name} in the environment is no command, {os.environ[name]!r}: {error}") from None


def page(session: Session, path: str) -> None:
    """Show a file of any size by the pager, which gets more of it as it asks for more."""
    command = program(["PAGER"], "less")
    if not session.screen.is_terminal or shutil.which(command[0]) is None:
        contents.write(session.g, path, session.screen)
        return
    # Less may start other programs, and preprocessors that know the names of files: not for a guest's text.
    environment = {**os.environ, "LESSSECURE": "1"}
    environment.pop("LESSOPEN", None)
    chunks = contents.visible_chunks(session.g, path)
    # Without a buffer, which the end would have to write to a pager that may read no more.
    with (
        foreground(),
        signals_held() as release,
        subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, bufsize=0) as pager,
    ):
        try:
            try:
                release()
                with foreground(_giving_up(pager)), contextlib.suppress(BrokenPipeError):
                    for chunk in chunks:
                        _write(pager, chunk.encode("utf-8", "backslashreplace"))
                pager.communicate()
            except KeyboardInterrupt as ended:
                if not isinstance(ended, Terminated):
                    pager.communicate()  # it has the terminal until it ends
                raise
        except Terminated:
            _end(pager)
            raise


def _write(pager: subprocess.Popen[bytes], content: bytes) -> None:
    """Write all of it; raise BrokenPipeError if the reader has seen enough."""
    assert pager.stdin is not None
    left = memoryview(content)
    while left:
        left = left[pager.stdin.write(left) :]


def _giving_up(pager: subprocess.Popen[bytes]) -> Handler:
    """Return a handler of Ctrl-C for while the guest is read, which may take for ever.

    The pager has its own use for Ctrl-C, so that the first one is left to it, as long as it runs.
    """
    asked = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked or pager.poll() is not None:
            raise KeyboardInterrupt
        asked = True

    return handle


def run(command: Sequence[str], *, reads: bool) -> int:
    """Run a program in the foreground; return its exit status. reads: it may read stdin.

    A signal that ends this program ends that one as well: asked to, it can save what it has. If it does not
    end within ten seconds, it is killed.
    """
    with (
        foreground(),
        signals_held() as release,
        Program(command, stdin=None if reads else subprocess.DEVNULL) as process,
    ):
        try:
            release()
            return process.wait()
        except Terminated:
            _end(process)
            raise


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()


def _leave(number: int, frame: FrameType | None) -> None:
    """Leave Ctrl-C to the program in the foreground."""


@contextlib.contextmanager
def foreground(handler: Handler = _leave) -> Generator[None, None, None]:
    """Handle Ctrl-C so while another program is in the foreground, which gets it as well."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # A handler rather than SIG_IGN, which the program would inherit.
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
