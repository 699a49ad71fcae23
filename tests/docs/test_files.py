"""The programs in docs/files.md run unchanged."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from guestkit.demo import DEMO_SYSTEM

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "files.md").read_text(encoding="utf-8")

#: What each program prints.
PRINTED = (
    f'PRETTY_NAME="{DEMO_SYSTEM.product_name}"\n\n',
    "['/etc/debian_version', '/etc/fstab', '/etc/hostname', '/etc/hosts', '/etc/os-release', '/etc/passwd']\n"
    "b'LABEL=demo'\n[] ['/etc/os-release']\n",
    "",
    "44 73\nb'LABEL=demo'\n",
    "guestkit-demo\n",
    "",
    "['/etc/os-release']\n",
)


PROGRAMS = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    ("program", "printed"),
    [
        pytest.param(program, printed, id=name, marks=[pytest.mark.full] * (name == "served"))
        for name, program, printed in zip(
            ("url", "direct", "writing", "async", "mounted", "mounted by asyncio", "served"),
            PROGRAMS,
            PRINTED,
            strict=True,
        )
    ],
)
def test_a_python_program(demo_guest: Path, tmp_path: Path, program: str, printed: str) -> None:
    command = ["qemu-img", "convert", "-q", "-f", "raw", "-O", "qcow2", str(demo_guest), "disk.qcow2"]
    subprocess.run(command, cwd=tmp_path, check=True)
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == printed


@pytest.mark.parametrize(
    "commands", re.findall(r"^```sh\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL), ids=("mount", "serve")
)
def test_commands_for_other_tools(demo_guest: Path, tmp_path: Path, commands: str) -> None:
    command = ["qemu-img", "convert", "-q", "-f", "raw", "-O", "qcow2", str(demo_guest), "web.qcow2"]
    subprocess.run(command, cwd=tmp_path, check=True)
    places = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-e", "-c", commands],
        cwd=tmp_path,
        env=os.environ | {"PATH": places},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f'PRETTY_NAME="{DEMO_SYSTEM.product_name}"'
