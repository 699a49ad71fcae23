"""What docs/shell.md shows is what the shell does: in one appliance each, the session and the script."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from guestkit.generated.arguments import ARGUMENTS
from guestkit.shell.helping import COMMANDS

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "shell.md").read_text(encoding="utf-8")


def block(kind: str) -> str:
    (found,) = re.findall(rf"^```{kind}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.fixture
def folder(demo_guest: Path, tmp_path: Path) -> Path:
    command = ["qemu-img", "convert", "-q", "-f", "raw", "-O", "qcow2", str(demo_guest), "web.qcow2"]
    subprocess.run(command, cwd=tmp_path, check=True)
    return tmp_path


def run(command: list[str], folder: Path, text: str = "") -> str:
    places = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PATH": places},
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_session_that_is_shown(folder: Path) -> None:
    command, *lines = block("console").splitlines()
    typed = [line.partition("> ")[2] for line in lines if line.startswith("web.qcow2:")]
    answers = [line for line in lines if not line.startswith("web.qcow2:")]
    assert run(command.removeprefix("$ ").split(), folder, "\n".join(typed)).splitlines() == answers
    assert (folder / "hosts").read_text().startswith("127.0.0.1")


def test_the_script_that_is_shown(folder: Path) -> None:
    (folder / "hosts").write_text("127.0.0.1 localhost\n")
    said = run(["sh", "-e", "-c", block("sh")], folder)
    assert re.fullmatch(r"-rw-r--r-- 0 0 20 \d{4}-\d\d-\d\d \d\d:\d\d hosts\n", said)


def test_every_command_is_named_and_every_named_action_is_there() -> None:
    table = TEXT[TEXT.index("| look |") : TEXT.index("## Actions")]
    assert {word.split()[0] for word in re.findall("`([^`]*)`", table) if word != "--rw"} == set(COMMANDS)
    names = [line.split()[0].replace("-", "_") for line in block("text").splitlines()]
    assert len(names) == 6
    assert [name for name in names if name not in ARGUMENTS] == ["call"]
