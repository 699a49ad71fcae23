"""The code on a page of docs/, or in README.md, and how it is run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def blocks(page: str, language: str) -> list[str]:
    """Return the page's blocks of code in that language."""
    folder = ROOT if page == "README.md" else ROOT / "docs"
    text = (folder / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{re.escape(language)}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def block(page: str, language: str, marker: str = "") -> str:
    """Return the one block in that language that contains the marker."""
    (found,) = [each for each in blocks(page, language) if marker in each]
    return found


def qcow2(disk: Path, copy: Path) -> Path:
    """Copy a raw disk into a qcow2; return that."""
    command = ["qemu-img", "convert", "-q", "-f", "raw", "-O", "qcow2", str(disk), str(copy)]
    subprocess.run(command, check=True)
    return copy


def run_python(program: str, here: Path, *arguments: str, quiet: bool = False) -> str:
    """Run a program in that directory, where a warning is an error; return what it prints.

    quiet: it must say nothing on stderr
    """
    return _run([sys.executable, "-W", "error", "-c", program, *arguments], here, quiet=quiet)


def run_shell(commands: str, here: Path) -> str:
    """Run commands in that directory, where guestkit is the one under test; return what they print."""
    return _run(["sh", "-e", "-c", commands], here)


def _run(command: list[str], here: Path, *, quiet: bool = False) -> str:
    places = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=here, env=os.environ | {"PATH": places}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not quiet or done.stderr == ""
    return done.stdout
