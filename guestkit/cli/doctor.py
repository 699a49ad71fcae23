"""The command `doctor`."""

from __future__ import annotations

import argparse
import json

from rich.table import Table
from rich.text import Text

from guestkit.cli.screen import Screen
from guestkit.cli.text import columns, one_line
from guestkit.doctor import Finding, diagnose

DESCRIPTION = """\
Look at everything that a launch needs: KVM, kernel, QEMU, libguestfs, the fast appliance, memory and control
groups, places for temporary files. A line each: what was found, and the command that fixes it. Nothing is
changed.

A warning costs speed or a feature, and the exit status is 0. An error keeps launches from working, or the
making of appliances, and it is 1."""
EXAMPLES = ("guestkit doctor", "guestkit doctor --json")

_STYLES = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "error": ("✗", "red")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what `doctor` takes."""
    parser.add_argument("--json", action="store_true", help="as a JSON list")


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Do what the arguments say; return the exit status."""
    with screen.steps("looking at this host"):
        findings = diagnose()
    if arguments.json:
        screen.write(json.dumps([finding.to_dict() for finding in findings], indent=2) + "\n")
    elif screen.is_terminal:
        screen.show(_table(findings))
    else:
        rows = [(one.level, one.name, _sentence(one)) for one in findings]
        screen.write("".join(f"{line}\n" for line in columns(rows)))
    return 1 if any(one.level == "error" for one in findings) else 0


def _sentence(one: Finding) -> str:
    return one.message + (f"; to fix it: {one.remedy}" if one.remedy else "")


def _table(findings: tuple[Finding, ...]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for one in findings:
        sign, style = _STYLES[one.level]
        said = Text(one_line(one.message))
        if one.remedy:
            said.append(f"\n→ {one_line(one.remedy)}", style="bold")
        table.add_row(Text(sign, style=style), Text(one.name, style="cyan"), said)
    return table
