"""docs/coming-from-rust-guestkit.md names what is here, and its program runs."""

from __future__ import annotations

import re
from pathlib import Path

from guestkit import DiskConverter, Guestfs
from guestkit.demo import DEMO_SYSTEM
from tests.docs.snippets import ROOT, block, qcow2, run_python

PAGE = "coming-from-rust-guestkit.md"


def test_the_program(demo_guest: Path, tmp_path: Path) -> None:
    qcow2(demo_guest, tmp_path / "disk.qcow2")
    first, *fstab = run_python(block(PAGE, "python"), tmp_path).splitlines()
    assert first == f"{DEMO_SYSTEM.distro} {DEMO_SYSTEM.hostname}"
    assert fstab[0].startswith("LABEL=demo-root / ext4 ")


def test_the_calls_that_are_named_are_here() -> None:
    text = (ROOT / "docs" / PAGE).read_text(encoding="utf-8").rpartition("| there | here |")[2]
    rows = [
        [cell.strip() for cell in row.split("|")[1:3]] for row in text.splitlines() if row.count("|") == 3
    ]
    assert len(rows) > 8
    for there, here in rows:
        same = here.startswith("the same") and "hivex" not in there
        names = re.findall(r"`(?:DiskConverter\.)?([a-z]\w*)(?:\(\))?`", there if same else here)
        missing = [name for name in names if not (hasattr(Guestfs, name) or hasattr(DiskConverter, name))]
        assert missing in ([], ["hivex_value_dword"]), there
