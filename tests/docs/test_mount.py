"""The programs and commands in docs/mount.md run unchanged."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from guestkit import open_guest
from guestkit.demo import DEMO_SYSTEM
from tests.docs.snippets import block, blocks, qcow2, run_python, run_shell


@pytest.mark.parametrize("program", blocks("mount.md", "python"), ids=("blocking", "asyncio"))
def test_a_python_program(demo_guest: Path, tmp_path: Path, program: str) -> None:
    qcow2(demo_guest, tmp_path / "disk.qcow2")
    assert run_python(program, tmp_path) == ""
    if "etc.tar" in program:
        with tarfile.open(tmp_path / "etc.tar") as archive:
            hostname = archive.extractfile("etc/hostname")
            assert hostname is not None
            assert hostname.read() == f"{DEMO_SYSTEM.hostname}\n".encode()


def test_a_link_of_the_guest_had_the_program_print_a_file_of_the_host(
    demo_guest: Path, tmp_path: Path
) -> None:
    """It copied the link by cp -a, and read what that leads to here."""
    (tmp_path / "secret").write_text("of this host\n")
    disk = qcow2(demo_guest, tmp_path / "disk.qcow2")
    with open_guest(disk, readonly=False, format="qcow2") as g:
        g.ln_sf(str(tmp_path / "secret"), "/etc/hostname")
    assert run_python(blocks("mount.md", "python")[0], tmp_path) == ""
    assert b"of this host" not in (tmp_path / "etc.tar").read_bytes()


def test_the_commands(demo_guest: Path, tmp_path: Path) -> None:
    qcow2(demo_guest, tmp_path / "web.qcow2")
    printed = run_shell(block("mount.md", "sh"), tmp_path)
    assert printed.splitlines()[-1] == f'PRETTY_NAME="{DEMO_SYSTEM.product_name}"'
