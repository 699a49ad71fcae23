#!/usr/bin/env python3
"""Write docs/cli.md, the manual page and the completions from the command line's parser, and docs/causes.md.

tools/cli_docs.py           write what differs
tools/cli_docs.py --check   write nothing; list what differs and exit 1

It needs the built package and the tests' requirements: after a ./run test, run
./run exec python tools/cli_docs.py.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import causes
import shtab
from argparse_manpage.manpage import Manpage  # type: ignore[import-untyped]

from guestkit.cli.errors import REMEDIES
from guestkit.cli.parser import COMMANDS, make_parser
from guestkit.cli.usage import EXIT_STATUS

ROOT = Path(__file__).resolve().parent.parent

#: Arguments that name files on this host, so that shells complete them.
FILES = {"DISK", "BEFORE", "AFTER", "DIRECTORY", "OUTPUT", "SOURCE", "TARGET"}

HEAD = """\
# The command line

<!-- written by tools/cli_docs.py from the commands' own --help -->

`guestkit COMMAND`, or `python -m guestkit COMMAND`:

{commands}

The result goes to stdout, as text for people on a terminal, plain in a pipe, and JSON where you ask for it;
messages and progress go to stderr. `NO_COLOR=1` takes the colours away. What a guest says is escaped: control
characters and bytes that are no text appear as `\\x1b`, in JSON as `\\u001b`.

An error is a line on stderr that begins with `guestkit: error:`; a disk that failed is in the result too. In
a pipe, a step that takes more than ten seconds is reported once.

```text
{status}
```

Ctrl-C and SIGTERM end what runs, and leave no QEMU behind. The process then ends by that signal, which ends a
shell's loop around it, and is no failure to systemd. The last line says "interrupted" and what was done;
`inspect` and `df` tell of the disks that they have, `sbom` has written their bills, and `report` writes no
page. While the command cleans up, further SIGTERM and SIGHUP do nothing for ten seconds; Ctrl-C ends that,
too.

A variable of the environment that is empty counts as unset. Launches are fast with the appliance that
`guestkit appliance build` makes: see [fast launch](fast-launch.md).
"""


def main() -> int:
    options = argparse.ArgumentParser(description="Write the documents about the command line.")
    options.add_argument(
        "--check", action="store_true", help="write nothing, exit 1 if a file is out of date"
    )
    check = options.parse_args().check
    os.environ["COLUMNS"] = "100"  # the width of argparse's lines
    stale = [(ROOT / name, text) for name, text in files() if not same(ROOT / name, text)]
    for path, text in stale:
        if check:
            print(f"{path.relative_to(ROOT)} is out of date: run tools/cli_docs.py", file=sys.stderr)
        else:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
    return 1 if stale and check else 0


def same(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def files() -> Iterator[tuple[str, str]]:
    parser = make_parser()
    commands = subcommands(parser)
    yield "docs/cli.md", document(commands)
    yield "docs/causes.md", causes.document(ROOT / "api" / "guestkit.json", REMEDIES)
    yield "docs/generated/guestkit.1", manual_page(parser)
    for action in [action for command in commands.values() for action in command._actions]:
        if action.metavar in FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    for shell, name in (("bash", "guestkit.bash"), ("zsh", "_guestkit"), ("fish", "guestkit.fish")):
        yield f"docs/generated/{name}", shtab.complete(parser, shell).rstrip("\n") + "\n"


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    (action,) = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    for command in action.choices.values():
        command.complete()
    return dict(action.choices)


def document(commands: dict[str, argparse.ArgumentParser]) -> str:
    rows = "\n".join(f"| [{name}](#{name}) | {COMMANDS[name]} |" for name in commands)
    text = HEAD.format(commands=f"| command | what it does |\n|---|---|\n{rows}", status=EXIT_STATUS)
    for name, command in commands.items():
        said = command.format_help().removesuffix("\n").removesuffix(EXIT_STATUS).rstrip()
        text += f"\n## {name}\n\n```text\n{said}\n```\n"
    return text


def manual_page(parser: argparse.ArgumentParser) -> str:
    page = Manpage(
        parser, {"manual_title": "guestkit", "description": "look inside virtual-machine disk images"}
    )
    page.date = ""  # it would change every day
    return str(page)


if __name__ == "__main__":
    sys.exit(main())
