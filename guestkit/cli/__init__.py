"""The command line: `guestkit COMMAND`, or `python -m guestkit COMMAND`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from guestkit.cli import streams

__all__ = ["main", "program"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in argv (default: the process' arguments); return the exit status.

    0: success. 1: something failed, as reported on stderr or with the disk it belongs to. 130: Ctrl-C.
    141: nobody reads stdout any more. 143 and the like: 128 plus the signal's number. Wrong usage raises
    SystemExit(2), as argparse does.
    """
    if os.environ.get("TMPDIR") == "":  # supermin and other programs would use the empty name as a directory
        del os.environ["TMPDIR"]
    streams.prepare()
    given = sys.argv if argv is None else argv
    try:
        return _run(argv)
    except (Exception, KeyboardInterrupt) as error:  # while modules are loaded, or --help is written
        try:
            from guestkit.cli.outcome import ended_early
        except ImportError:  # of what is missing; the text says what
            from guestkit.cli.log_line import as_json

            is_json = "--log-json" in given
            print(as_json("error", str(error)) if is_json else f"guestkit: error: {error}", file=sys.stderr)
            return 1
        return ended_early(error, given)
    finally:
        streams.end()


def program() -> NoReturn:
    """Run `main` as the process' only work, and end the process as the command has ended."""
    # Who ignores it has the programs that it starts ignore it: nobody would know how those end that we start.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    status = main()
    if status > 128:
        from guestkit.cli.ending import end_by_signal

        end_by_signal(status)
    sys.exit(status)


def _run(argv: Sequence[str] | None) -> int:
    from guestkit.cli.parser import parse  # Ctrl-C may come meanwhile

    try:
        arguments = parse(argv)
    finally:
        with streams.writing():
            sys.stdout.flush()  # after --help, SystemExit ends the program
    from guestkit.cli.outcome import run  # --help does not pay for this import

    return run(arguments)
