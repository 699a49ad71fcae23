"""Every surface has every documented action of the installed libguestfs."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

from guestkit import AsyncGuestfs, Guestfs

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTED = ("public", "public_nofish", "statetest")


def stub_methods(name: str, class_name: str) -> set[str]:
    tree = ast.parse((ROOT / "guestkit" / name).read_text(encoding="utf-8"))
    (stub,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == class_name]
    return {node.name for node in stub.body if isinstance(node, ast.FunctionDef)}


def declared(guestfs_h: str) -> set[str]:
    """Return the functions that the header declares, without their variadic forms."""
    names = set(re.findall(r"^extern GUESTFS_DLL_PUBLIC .*?\bguestfs_(\w+) \(", guestfs_h, re.MULTILINE))
    return {re.sub(r"_(va|argv)$", "", name) for name in names}


def test_every_documented_action_is_on_every_surface(api: dict[str, Any], guestfs_h: str) -> None:
    functions = declared(guestfs_h)
    actions = [a for a in api["actions"] if a["visibility"] in DOCUMENTED and a["c_name"] in functions]
    assert len(actions) >= 588  # those of 1.48
    surfaces = {
        "Guestfs": set(dir(Guestfs)),
        "AsyncGuestfs": set(dir(AsyncGuestfs)),
        "_native.pyi": stub_methods("_native.pyi", "Handle"),
        "aio/actions.pyi": stub_methods("aio/actions.pyi", "AsyncActions"),
    }
    for surface, names in surfaces.items():
        assert [a["name"] for a in actions if a["name"] not in names] == [], surface
        assert [a["name"] for a in actions if not callable(getattr(Guestfs, a["name"]))] == []
    header = (ROOT / "include" / "guestkit" / "generated" / "actions.hpp").read_text(encoding="utf-8")
    methods = set(re.findall(r"^  result<.*?> (\w+)\(", header, re.MULTILINE))
    assert [a["name"] for a in actions if a["name"] not in methods] == []


def test_the_header_declares_no_documented_function_that_the_facts_do_not_know(
    api: dict[str, Any], guestfs_h: str
) -> None:
    known = {a["c_name"] for a in api["actions"]} | {a["name"] for a in api["actions"]}
    unknown = {name for name in declared(guestfs_h) - known if not re.match(HELPERS, name)}
    assert unknown == set()


#: Functions that are not actions: those of handles, errors, events and structs.
HELPERS = r"""(?x) (create|close|last_err|(set|get|push|pop)_error_handler|.*_memory_handler
    |(set|delete)_event_callback|event_to_string|set_.*_callback|(set|get|first|next)_private|(free|compare|copy)_
    |internal_)"""


def test_every_summary_is_our_own_line(api: dict[str, Any]) -> None:
    for name in ("mount", "launch", "inspect_os"):
        text = getattr(Guestfs, name).__doc__
        summary, _, rest = text.partition("\n")
        assert re.fullmatch(r"[A-Z][^\n]{10,89}\.", summary)
        assert f"C: guestfs_{name}(3), since " in rest
