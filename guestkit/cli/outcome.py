"""A command from its arguments to its exit status."""

from __future__ import annotations

import argparse
import contextlib
import errno
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn

from guestkit.cli.ending import ended_by_signals, notes, status_of
from guestkit.cli.errors import sentence
from guestkit.cli.guests import disks_of
from guestkit.cli.options import DEBUG, LOG_JSON
from guestkit.cli.screen import Screen, logging_to
from guestkit.cli.streams import writing
from guestkit.cli.usage import UsageError
from guestkit.errors import Error, is_final


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return the exit status, as documented in `guestkit.cli.main`."""
    screen = Screen(quiet=arguments.quiet, log_json=arguments.log_json)
    verbosity = -1 if arguments.quiet else arguments.verbose
    with ended_by_signals():
        try:
            with logging_to(screen, verbosity):
                return tell_errors(arguments, screen, lambda: arguments.run(arguments, screen))
        except KeyboardInterrupt as ended:
            status, said = status_of(ended), ": ".join(["interrupted", *notes(ended)])
            with contextlib.suppress(KeyboardInterrupt):  # another signal
                screen.tell("info", said)
            return status


def ended_early(error: Exception | KeyboardInterrupt, argv: Sequence[str]) -> int:
    """Return the exit status, as `run`, after an error for which there was no command yet."""

    def fail(*_: object) -> NoReturn:
        raise error

    given = {"log_json": LOG_JSON in argv, "debug": DEBUG in argv}
    return run(argparse.Namespace(quiet=False, verbose=0, run=fail, **given))


def tell_error(error: Exception, arguments: argparse.Namespace, screen: Screen) -> None:
    """Tell of an error, with --debug where it comes from."""
    screen.tell("error", ": ".join([sentence(error, disks_of(arguments)), *notes(error)]))
    if arguments.debug:
        screen.tell_traceback(error)


def each(paths: Iterable[str], work: Callable[[str], int | None], tell: Callable[[Exception], object]) -> int:
    """Do the work for each path in a guest, after an error of another one, too; return the exit status.

    work: returns an exit status; None is 0
    tell: tells of an error about a path; what ends all, such as a dead appliance, is raised
    """
    status = 0
    for path in paths:
        try:
            status |= work(path) or 0
        except (Error, OSError) as error:
            # Another OSError is about this host, such as a stdout that is full.
            is_about_it = isinstance(error, Error) or error.filename == path
            if is_final(error) or error.errno == errno.EINTR or not is_about_it:
                raise
            tell(error)
            status |= 1
    return status


def tell_errors(arguments: argparse.Namespace, screen: Screen, work: Callable[[], int]) -> int:
    """Do the work of a command; return the exit status, after telling of an error."""
    try:
        status = work()
        with writing():
            sys.stdout.flush()
    except BrokenPipeError:
        return 141
    except UsageError as error:
        arguments.parser.error(str(error))
    except Exception as error:
        tell_error(error, arguments, screen)
        return int(getattr(arguments, "trouble", 1))  # of diff it is 2, as in diff(1)
    return status
