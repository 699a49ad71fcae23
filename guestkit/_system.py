"""Names the command that installs a missing package, for this distribution.

Imports nothing of guestkit's, so that it serves where the extension module cannot be loaded.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

__all__ = ["hint", "install_command"]

TABLE = Path(__file__).with_name("system_packages.txt")


def install_command(*things: str, sudo: bool | None = None) -> str:
    """Return the command that installs the things, such as "sudo dnf install qemu-img"; "" if none is known.

    None is known for a distribution that system_packages.txt lacks, that has no package of a thing, or that
    has it in another package.

    things: names of rows of system_packages.txt, such as "libguestfs", "qemu" or "kernel"
    sudo: whether the command begins with sudo; by default it does, unless the user is root
    """
    try:
        release = platform.freedesktop_os_release()
    except OSError:  # there is no os-release
        return ""
    rows = _rows()
    column = _column(rows["ids"], release)
    if column is None:
        return ""
    machine = platform.machine()
    packages: list[str] = []
    for thing in things:
        names = rows.get(f"{thing}:{machine}", rows[thing])[column]
        if names == "-":
            return ""
        packages += [name for name in names.split(",") if name != "." and name not in packages]
    if not packages:
        return ""
    words = ["sudo"] if (os.geteuid() != 0 if sudo is None else sudo) else []
    return " ".join([*words, *rows["installs"][column].split("_"), *packages])


def hint(thing: str) -> str:
    """Return "install it with: COMMAND", the hint of an error about a missing thing; "" if none is known."""
    command = install_command(thing)
    return f"install it with: {command}" if command else ""


def _rows() -> dict[str, list[str]]:
    lines = (line.split() for line in TABLE.read_text(encoding="utf-8").splitlines())
    return {words[0]: words[1:] for words in lines if words and not words[0].startswith("#")}


def _column(ids: list[str], release: dict[str, str]) -> int | None:
    """Return the column for that os-release: by its ID, else by the first of ID_LIKE that is known."""
    for name in [release["ID"], *release.get("ID_LIKE", "").split()]:
        for number, known in enumerate(ids):
            if name in known.split(","):
                return number
    return None
