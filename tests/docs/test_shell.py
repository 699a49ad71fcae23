"""What docs/shell.md shows is what the shell does; the session and the script share an appliance."""

from __future__ import annotations

import io
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import guestkit.cli.guests
from guestkit import Guestfs, open_guest
from guestkit.cli import main
from guestkit.cli.shell.helping import COMMANDS
from guestkit.generated.arguments import ARGUMENTS
from tests.docs.snippets import ROOT, block

TEXT = (ROOT / "docs" / "shell.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def g(demo_guest: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guestfs]:
    disk = tmp_path_factory.mktemp("docs") / "disk.img"
    shutil.copyfile(demo_guest, disk)
    with open_guest(disk, readonly=False, format="raw") as handle:
        yield handle


@pytest.fixture(autouse=True)
def place(g: Guestfs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current directory, in which any disk is that guest."""

    @contextmanager
    def opened(disk: list[str], **options: Any) -> Iterator[Guestfs]:
        yield g

    monkeypatch.setattr(guestkit.cli.guests, "open_guest", opened)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(command: str, text: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a command with this text on stdin."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    program, *words = shlex.split(command)
    assert program == "guestkit"
    return main(words)


def test_the_session_that_is_shown(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    command, *lines = block("shell.md", "console").splitlines()
    typed = [line.partition("> ")[2] for line in lines if line.startswith("web.qcow2:")]
    answers = [line for line in lines if not line.startswith("web.qcow2:")]
    assert run(command.removeprefix("$ "), "\n".join(typed), monkeypatch) == 0
    assert capfd.readouterr().out.splitlines() == answers
    assert (place / "hosts").read_text().startswith("127.0.0.1")


def test_the_script_that_is_shown(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (place / "hosts").write_text("127.0.0.1 localhost\n")
    command, _, script = block("shell.md", "sh").partition(" <<'END'\n")
    assert run(command, script.removesuffix("END\n"), monkeypatch) == 0
    assert re.fullmatch(r"-rw-r--r-- 0 0 20 \d{4}-\d\d-\d\d \d\d:\d\d hosts\n", capfd.readouterr().out)


def test_every_command_is_named_and_every_named_action_is_there() -> None:
    table = TEXT[TEXT.index("| look |") : TEXT.index("## Actions")]
    assert {word.split()[0] for word in re.findall("`([^`]*)`", table) if word != "--rw"} == set(COMMANDS)
    names = [line.split()[0].replace("-", "_") for line in block("shell.md", "text").splitlines()]
    assert len(names) == 6
    assert [name for name in names if name not in ARGUMENTS] == ["call"]
