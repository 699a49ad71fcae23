"""The program and the script in docs/serve.md run unchanged."""

from __future__ import annotations

from pathlib import Path

import pytest

from guestkit.demo import DEMO_SYSTEM
from tests.docs.snippets import block, qcow2, run_python, run_shell


@pytest.mark.full
def test_the_python_program(demo_guest: Path, tmp_path: Path) -> None:
    qcow2(demo_guest, tmp_path / "disk.qcow2")
    assert run_python(block("serve.md", "python"), tmp_path) == "['/etc/os-release']\n"


def test_the_script(demo_guest: Path, tmp_path: Path) -> None:
    qcow2(demo_guest, tmp_path / "web.qcow2")
    printed = run_shell(block("serve.md", "sh"), tmp_path)
    assert printed.splitlines()[-1] == f'PRETTY_NAME="{DEMO_SYSTEM.product_name}"'
