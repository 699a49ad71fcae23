"""docs/causes.md: what `Error.cause` says, how it reads, and what to do. tools/cli_docs.py writes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

HEAD = """\
# Causes of errors

<!-- written by tools/cli_docs.py from api/guestkit.json -->

`Error.cause` is one word by which a program tells failures apart: in Python a string, one of
`typing.get_args(guestkit.Cause)`, in C++ a `guestkit::Cause`. `Error.hint`, with which the text of an error
ends, says what to do about that one failure; here is what to do about its kind. The command line has words of
its own for it.
"""


def document(facts: Path, typed: Mapping[str, str]) -> str:
    """Return the page.

    facts: api/guestkit.json
    typed: what the command line says to do, by cause
    """
    groups = json.loads(facts.read_text(encoding="utf-8"))["groups"]
    (cause,) = [enum for group in groups for enum in group.get("enums", ()) if enum["name"] == "Cause"]
    parts = [HEAD.rstrip()]
    for one in cause["values"]:
        name = one["name"]
        parts += [
            f"## {name}",
            f"What is wrong: {one['about']}. Such an error reads:",
            f"```text\n{one['message']}\n```",
            f"What to do: {one['remedy']}",
        ]
        if name in typed:
            parts.append(f"On the command line: {typed[name]}.")
    return "\n\n".join(parts) + "\n"
