"""stdin, stdout and stderr as the commands need them: open, and fit for any text."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TextIO


def prepare() -> None:
    """Open what the caller has closed, and escape what an encoding cannot represent.

    Otherwise Python would have None for it, `print` would write errors to stdout, and a disk that is opened
    could get the number of stderr. Reading stdin and writing to stdout fail then: a result that nobody gets
    is no success. Nobody misses stderr.
    """
    for number, access in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_RDWR)):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, access)  # the lowest number that is free: this one
            os.set_inheritable(opened, True)
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def writing() -> Generator[None, None, None]:
    """Name stdout in an error of writing to it, as on a full disk; that its reader has gone is none."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, "stdout") from None


def end() -> None:
    """Write what is left; drop what cannot be written, or the interpreter complains of it at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            _drop(stream)


def _drop(stream: TextIO) -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, stream.fileno())
    except OSError:  # it is no file: a stand-in
        pass
    finally:
        os.close(nothing)
