"""A guest whose texts all attack whatever shows them: a terminal, a web page, a shell, a host path."""

from __future__ import annotations

from pathlib import Path

from . import trees
from .corpus import ROOT_UUID, Part, _make
from .trees import File, Link, Tree

#: Sets a terminal's title, clears the screen, and contains a script and rich's markup.
ATTACK = "\x1b]0;owned\x07\x1b[2J<script>alert(1)</script>[red]"

#: What people are to see instead.
ESCAPED = r"\x1b]0;owned\x07\x1b[2J<script>alert(1)</script>[red]"

_NAME = ATTACK.replace("/", "\u2044")

#: Files below /srv, with hostile names.
FILES: dict[str, File] = {
    f"srv/{_NAME}": b"content\n",
    "srv/\udcff\u202e.txt": b"bytes that are no text: \xff\xfe\n",
    "srv/text": f"{ATTACK}\tü\n".encode() + b"\xff\n",
    "srv/link": Link(ATTACK),
    "srv/out": Link("../../../../../../../../etc/passwd"),
    "srv/absolute": Link("/etc/hostname"),
    "srv/directory/$(touch owned)": b"",
}


def tree() -> Tree:
    """Return the guest's files."""
    status = f"Package: {ATTACK}\nStatus: install ok installed\nVersion: {ATTACK}\nArchitecture: {ATTACK}\n\n"
    return trees.debian(
        **{
            **trees.release(PRETTY_NAME=ATTACK, NAME=ATTACK, VERSION_ID="12.5", ID="debian"),
            "etc/debian_version": "12.5\n",
            "etc/hostname": f"{ATTACK}\n",
            "var/lib/dpkg/status": status,
            **FILES,
        }
    )


def make(path: Path) -> None:
    """Write the guest's disk: raw, with one partition."""
    _make([Part(tree(), uuid=ROOT_UUID, label="\x1b[31mlabel")], path)
