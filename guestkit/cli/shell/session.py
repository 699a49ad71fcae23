"""The guest that the shell's commands work on: its handle, the current directory, what a path means."""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
import stat
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from guestkit._file_errors import about, failure
from guestkit.cli.ending import notes
from guestkit.cli.errors import sentence
from guestkit.cli.screen import Screen
from guestkit.cli.shell.parsing import as_pattern
from guestkit.cli.usage import UsageError
from guestkit.errors import Error
from guestkit.files import guest_path
from guestkit.handle import Guestfs

#: What it means to a guest that is written to that its appliance has ended.
LOST = "; what the guest had not yet written to the disk is lost"


class Session:
    """A guest, its current directory, and where the results go.

    Attributes:
        cwd: the current directory, in the guest
        screen: what the results are written to
        writable: whether commands may change the guest
        interactive: whether a person types the commands
        script_on_stdin: whether stdin has the commands, so that no other program may read it
        shut_down: whether a command has shut the appliance down, by which nothing is lost
    """

    def __init__(
        self,
        open: Callable[[], AbstractContextManager[Guestfs]],
        screen: Screen,
        *,
        writable: bool = False,
        interactive: bool = False,
        script_on_stdin: bool = False,
    ) -> None:
        """Open nothing yet. open: opens the guest, as `open_guest` does, whenever it is needed."""
        self._open = open
        self._stack = contextlib.ExitStack()
        self.handle: Guestfs | None = None
        self.cwd = self.previous = "/"
        self.screen = screen
        self.writable = writable
        self.interactive = interactive
        self.script_on_stdin = script_on_stdin
        self.shut_down = False

    # ---- the handle

    @property
    def g(self) -> Guestfs:
        """The launched handle; opened anew if the one before was lost."""
        return self.handle or self.open()

    def open(self) -> Guestfs:
        """Open the guest."""
        self.handle = self._stack.enter_context(self._open())
        self.shut_down = False
        return self.handle

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the appliance. Without an error before, all is on the disk, or Error is raised."""
        if not self.lost(error or Error("shell", "the appliance has ended")):
            self.handle = None
            self._stack.__exit__(kind, error, traceback)
        elif error is None and self.may_lose:  # and no command has met its end
            raise Error("shell", f"the appliance has ended{LOST}", errno.EIO)

    @property
    def may_lose(self) -> bool:
        """Whether the guest may lose what commands have written when the appliance ends by itself."""
        return self.writable and not self.shut_down

    def lost(self, reason: BaseException) -> bool:
        """Return whether the appliance has ended, and give it up; `g` then opens another one.

        reason: why it may have ended
        """
        if self.handle is None:
            return False
        with contextlib.suppress(Error):
            if self.handle.is_ready():
                return False
        self.handle = None
        with contextlib.suppress(Error, type(reason)):  # what is wrong with it is known
            self._stack.__exit__(type(reason), reason, reason.__traceback__)
        self._stack = contextlib.ExitStack()
        return True

    # ---- errors

    def tell_error(self, name: str, error: Exception) -> None:
        """Tell of an error. name: of the command; "": the error names the call"""
        text = sentence(_cause(error))
        self.screen.tell("error", ": ".join(filter(None, [name, text, *notes(error)])))

    # ---- paths

    def path(self, word: str) -> str:
        """Return the absolute path in the guest that a word means."""
        return guest_path(posixpath.join(self.cwd, word))

    def paths(self, words: Iterable[str]) -> list[str]:
        """Return the paths that words mean; a wildcard without a match stands for itself."""
        found: list[str] = []
        for word in words:
            pattern = getattr(word, "pattern", "")
            matches = self._matches(pattern) if pattern else []
            found += matches or [self.path(word)]
        return found

    def _matches(self, pattern: str) -> list[str]:
        pattern = posixpath.join(as_pattern(self.cwd), pattern)
        return [guest_path(path) for path in self.g.glob_expand(pattern, directoryslash=False)]

    def enter(self, word: str) -> None:
        """Make a directory the current one."""
        path = self.previous if word == "-" else self.path(word)
        with about(path):
            if not stat.S_ISDIR(self.g.statns(path)["st_mode"]):
                raise failure(errno.ENOTDIR, path)
        self.previous, self.cwd = self.cwd, path

    def check_writable(self, command: str) -> None:
        """Raise UsageError if the guest is not to be changed."""
        if not self.writable:
            raise UsageError(
                f"{command}: the disk is opened read-only: guestkit shell --rw --format FORMAT writes"
            )


def _cause(error: Exception) -> Exception:
    """Return what is worth telling: what a program in the appliance said has no number, but a text."""
    cause = error.__cause__
    return cause if isinstance(error, OSError) and isinstance(cause, Error) and not cause.errno else error


def host_path(word: str) -> str:
    """Return the path on this host that a word means: with ~ for the home directory."""
    return os.path.expanduser(word)
