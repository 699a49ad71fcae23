"""The programs in docs/files.md run unchanged."""

from __future__ import annotations

from pathlib import Path

import pytest

from guestkit.demo import DEMO_SYSTEM
from tests.docs.snippets import blocks, qcow2, run_python

#: What each program prints.
PRINTED = {
    "url": f'PRETTY_NAME="{DEMO_SYSTEM.product_name}"\n',
    "direct": "['/etc/debian_version', '/etc/fstab', '/etc/hostname', '/etc/hosts', '/etc/os-release', "
    "'/etc/passwd']\nb'LABEL=demo'\n[] ['/etc/os-release']\n",
    "writing": "",
    "async": "44 73\nb'LABEL=demo'\n",
}


@pytest.mark.parametrize(
    ("program", "printed"),
    list(zip(blocks("files.md", "python"), PRINTED.values(), strict=True)),
    ids=PRINTED,
)
def test_a_python_program(demo_guest: Path, tmp_path: Path, program: str, printed: str) -> None:
    qcow2(demo_guest, tmp_path / "disk.qcow2")
    assert run_python(program, tmp_path) == printed
