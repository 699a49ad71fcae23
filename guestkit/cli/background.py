"""Work that goes on when its command has returned."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from typing import NoReturn

from guestkit.cli.ending import ENDING, status_of


def in_background(work: Callable[[Callable[[], None]], int]) -> int:
    """Do the work in another process; return its exit status, or 0 as soon as it is to go on alone.

    The process is a fork: another Python would load again what this one has loaded. It has a session of its
    own, since the terminal's Ctrl-C and end are not for what goes on. What interrupts this one ends it, too.

    work: takes the function by which it says that it goes on; returns the exit status
    """
    answer, told = os.pipe()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # until both processes can handle them
    process = os.fork()
    if process == 0:
        _work(work, told, before)
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(told)
        with open(answer, "rb") as reader:
            if reader.read(1):
                return 0
        ended = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])  # it has said why
        return ended if ended >= 0 else 128 - ended
    except BaseException:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(process, signal.SIGTERM)
            os.waitpid(process, 0)
        raise


def _work(
    work: Callable[[Callable[[], None]], int], told: int, signals: set[int | signal.Signals]
) -> NoReturn:
    given: list[int] = []

    def go_on() -> None:
        for descriptor in given:
            os.close(descriptor)
        os.chdir("/")  # else the filesystem of the current directory would be in use
        with open(os.devnull, "r+b") as nothing:
            for stream in (0, 1, 2):
                os.dup2(nothing.fileno(), stream)
        os.write(told, b"1")
        os.close(told)

    status = 1
    try:
        os.setsid()
        given += _given_only(told)
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)
        status = work(go_on)
    except KeyboardInterrupt as ended:
        status = status_of(ended)  # the command that waits says so
    except SystemExit as ended:
        status = int(ended.code or 0)
    finally:
        os._exit(status)  # never back into what the command would do after it


def _given_only(kept: int) -> list[int]:
    """Close the descriptors that this process has opened, but that one; return those that it was given.

    Keys and disks may be given by them, as /dev/fd/3 or <(command). No program that the work starts has them:
    whoever gave them waits for their end.
    """
    given = []
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        if descriptor <= 2 or descriptor == kept:
            continue
        with contextlib.suppress(OSError):  # the one that listed them
            if os.get_inheritable(descriptor):
                os.set_inheritable(descriptor, False)
                given.append(descriptor)
            else:
                os.close(descriptor)
    return given
