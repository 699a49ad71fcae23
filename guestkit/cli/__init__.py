"""The command line: `guestkit COMMAND`, or `python -m guestkit COMMAND`."""

from __future__ import annotations

import os
from collections.abc import Sequence

from guestkit.cli.parser import parse

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
    from guestkit.cli.running import run  # what --help need not load

    return run(arguments)
