"""docs/environment.md names the variables that the code reads."""

from __future__ import annotations

import re

from guestkit.cli.serve import VARIABLE
from tests.docs.snippets import ROOT

#: What programs are found by, and where what they share is: no settings of guestkit's.
SYSTEM = {"PATH", "HOME", "XDG_RUNTIME_DIR"}
#: Former names, which libguestfs still takes.
FORMER = {"LIBGUESTFS_QEMU", "LIBGUESTFS_ATTACH_METHOD"}
READS = r'(?:environ\.\w+\(|getenv\(|is_set\(|environment_variable\(|program\(\[)((?:"[A-Z_]+"(?:, )?)+)'


def test_every_variable_that_is_read_is_named() -> None:
    text = (ROOT / "docs" / "environment.md").read_text(encoding="utf-8")
    named = {name for row in re.findall(r"^\| (`.*?) \|", text, re.M) for name in re.findall(r"`(\w+)`", row)}
    sources = "".join(
        path.read_text(encoding="utf-8")
        for folder, pattern in (("guestkit", "*.py"), ("include", "*.?pp"))
        for path in (ROOT / folder).rglob(pattern)
    )
    read = {name for names in re.findall(READS, sources) for name in re.findall(r"\w+", names)} | {VARIABLE}
    assert len(read) > 12
    assert sorted(read - named - SYSTEM - FORMER) == []
