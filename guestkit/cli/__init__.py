"""The command line: `guestkit COMMAND`, or `python -m guestkit COMMAND`."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence

from guestkit.cli.common import UsageError
from guestkit.cli.ending import Terminated, ended_by_signals, notes
from guestkit.cli.errors import sentence
from guestkit.cli.parser import parse
from guestkit.cli.screen import Screen, logging_to
from guestkit.cli.text import printable

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that argv (default: the process' arguments) tells; return the exit status.

    0: all is well. 1: something failed, told on stderr or with the disk it belongs to. 130: Ctrl-C.
    141: nobody reads stdout any more. 143 and such: 128 and the signal's number. Wrong usage raises
    SystemExit(2), as argparse does.
    """
    if os.environ.get("TMPDIR") == "":  # to supermin and other programs an empty one is a directory
        del os.environ["TMPDIR"]
    arguments = parse(argv)
    screen = Screen(quiet=arguments.quiet, log_json=arguments.log_json)
    verbosity = -1 if arguments.quiet else arguments.verbose
    try:
        with ended_by_signals(), logging_to(screen, verbosity):
            status: int = arguments.run(arguments, screen)
            sys.stdout.flush()
    except KeyboardInterrupt as ended:
        with contextlib.suppress(OSError):  # the terminal may be gone
            screen.tell("info", ": ".join(["interrupted", *notes(ended)]))
        return 128 + (ended.signal if isinstance(ended, Terminated) else signal.SIGINT)
    except BrokenPipeError:
        # The interpreter flushes once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except UsageError as error:
        arguments.parser.error(str(error))
    except Exception as error:
        screen.tell("error", sentence(error))
        if arguments.debug:
            for line in "".join(traceback.format_exception(error)).splitlines():
                print(printable(line), file=sys.stderr)
        return 1
    return status
