"""The programs and commands in docs/mount.md run unchanged."""

from __future__ import annotations

from pathlib import Path

import pytest

from guestkit.demo import DEMO_SYSTEM
from tests.docs.snippets import block, blocks, qcow2, run_python, run_shell


@pytest.mark.parametrize(
    ("program", "printed"),
    list(zip(blocks("mount.md", "python"), (f"{DEMO_SYSTEM.hostname}\n", ""), strict=True)),
    ids=("blocking", "asyncio"),
)
def test_a_python_program(demo_guest: Path, tmp_path: Path, program: str, printed: str) -> None:
    qcow2(demo_guest, tmp_path / "disk.qcow2")
    assert run_python(program, tmp_path) == printed


def test_the_commands(demo_guest: Path, tmp_path: Path) -> None:
    qcow2(demo_guest, tmp_path / "web.qcow2")
    printed = run_shell(block("mount.md", "sh"), tmp_path)
    assert printed.splitlines()[-1] == f'PRETTY_NAME="{DEMO_SYSTEM.product_name}"'
