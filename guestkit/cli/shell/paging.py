"""Programs of this host in the foreground of the terminal: a pager, an editor."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Generator, Sequence

from guestkit.cli import cat
from guestkit.cli.shell.session import Session


def program(variables: Sequence[str], default: str) -> list[str]:
    """Return the command in the first of the environment's variables that is set, else the default."""
    chosen = next((os.environ[name] for name in variables if os.environ.get(name)), default)
    return shlex.split(chosen) or [default]


def page(session: Session, path: str) -> None:
    """Show a file of any size by the pager, which gets more of it as it asks for more."""
    command = program(["PAGER"], "less")
    if not session.screen.is_terminal or shutil.which(command[0]) is None:
        cat.write(session.g, path, session.screen)
        return
    # Less may start other programs, and preprocessors that know the names of files: not for a guest's text.
    environment = {**os.environ, "LESSSECURE": "1"}
    environment.pop("LESSOPEN", None)
    chunks = cat.visible_chunks(session.g, path)
    with foreground(), subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as pager:
        assert pager.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the reader has seen enough
            for chunk in chunks:
                pager.stdin.write(chunk.encode("utf-8", "backslashreplace"))
        with contextlib.suppress(BrokenPipeError):
            pager.stdin.close()


def run(command: Sequence[str], *, reads: bool) -> int:
    """Run a program in the foreground; return its exit status. reads: it may read stdin."""
    with foreground():
        return subprocess.run(command, stdin=None if reads else subprocess.DEVNULL, check=False).returncode


@contextlib.contextmanager
def foreground() -> Generator[None, None, None]:
    """Leave Ctrl-C to the program in the foreground, as all programs that start one do."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # A handler rather than SIG_IGN, which the program would inherit.
    before = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
