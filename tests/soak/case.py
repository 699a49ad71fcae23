"""A case of a soak: one attempt, determined by its section, its seed and its number."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Protocol

from guestkit import _native
from guestkit.handle_options import Sandbox

#: The sections, in the order of `--help`. `planted` tests the soak itself and runs only when it is named.
SECTIONS = {
    "guests": "tests.soak.guests",
    "kills": "tests.soak.kills",
    "storms": "tests.soak.storms",
    "load": "tests.soak.load",
    "limits": "tests.soak.limits",
    "attacks": "tests.soak.attacks",
    "planted": "tests.soak.planted",
}
EXPECTED = "a result or an error of guestkit"


class Found(Exception):
    """Something is wrong with guestkit."""

    def __init__(self, expected: str, happened: str) -> None:
        super().__init__(expected, happened)
        self.expected = expected
        self.happened = happened


class Skipped(Exception):
    """This host cannot run the case; the text says why."""


class Section(Protocol):
    """A module of a section.

    Attributes:
        ABOUT: what it tries, in a line
        LIMIT: how long a case may take, in seconds, on a host with a load of four for each processor
    """

    ABOUT: str
    LIMIT: float

    def run(self, case: Case) -> None:
        """Run the case; raise Found or Skipped."""


def section(name: str) -> Section:
    """Return the module of the section."""
    module: Section = import_module(SECTIONS[name])
    return module


@dataclass(frozen=True)
class Case:
    """What a section gets.

    Attributes:
        folder: the case's own; its `input` is what the case tries guestkit with, its `output` is searched for
            secrets; /tmp is the case's own too where that can be had
        seconds: how long a case may go on that repeats something
        cgroup: a control group of memory to make others in
    """

    section: str
    seed: int
    number: int
    folder: Path
    seconds: float
    cgroup: Path | None = None

    @cached_property
    def random(self) -> random.Random:
        return random.Random(f"{self.section} {self.seed} {self.number}")

    @cached_property
    def sandbox(self) -> Sandbox:
        """How far QEMU is confined; drawn by itself, so that the case's other numbers do not depend on it."""
        chance = random.Random(f"sandbox {self.section} {self.seed} {self.number}")
        drawn: Sandbox = chance.choice(("auto", "strict", "strict", "none"))
        if drawn == "strict" and not _native.landlock_version():
            drawn = "auto"
        self.tried(f"sandbox {drawn}")
        return drawn

    @property
    def input(self) -> Path:
        return self.folder / "input"

    @property
    def output(self) -> Path:
        return self.folder / "output"

    def tried(self, text: str) -> None:
        """Say what is tried next."""
        with (self.folder / "tried").open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{text}\n")

    def hide(self, secret: str) -> str:
        """Note a secret, which must not be in any output; return it."""
        with (self.folder / "secrets").open("a", encoding="utf-8") as file:
            file.write(f"{secret}\n")
        return secret

    def secret(self) -> str:
        """Return a new secret."""
        return self.hide(f"secret-{self.random.getrandbits(96):024x}")

    def will_kill(self) -> None:
        """Note that a process with a handle will be killed: what it leaves is the next one's to sweep."""
        (self.folder / "kills").touch()


def expect(holds: bool, expected: str, happened: object) -> None:
    """Raise Found unless that holds."""
    if not holds:
        raise Found(expected, str(happened))
