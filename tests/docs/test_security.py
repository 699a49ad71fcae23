"""SECURITY.md names the tests of what it promises, and the versions that are supported."""

from __future__ import annotations

import re
from pathlib import Path

import guestkit

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def test_each_test_that_is_named_is_there() -> None:
    table = TEXT.partition("| Promise | Tests |")[2].partition("\n\n")[0]
    rows = table.splitlines()[2:]
    assert len(rows) > 10
    for row in rows:
        named = re.findall(r"`(tests/[\w/.]+)::(\w+)`", row)
        assert named, row
        for path, name in named:
            source = (ROOT / path).read_text(encoding="utf-8")
            form = rf"^(async )?def {name}\(" if path.endswith(".py") else rf"TEST_CASE\({name}\b"
            assert re.search(form, source, re.MULTILINE), f"{path}::{name}"


def test_this_version_is_a_supported_one() -> None:
    rows = dict(re.findall(r"^\| ([\d.]+) \| (\w+) \|$", TEXT, re.MULTILINE))
    assert rows[".".join(guestkit.__version__.split(".")[:2])] == "yes"


def test_the_rules_of_the_filter_are_those_that_are_told() -> None:
    header = (ROOT / "include/guestkit/detail/launch/sandbox.hpp").read_text(encoding="utf-8")
    (rules,) = re.findall(r'"(on,[\w=,]+)"', header)
    assert f"-sandbox {rules}" in " ".join(TEXT.split())
