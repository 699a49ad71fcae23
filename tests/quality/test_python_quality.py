"""The Python files pass the linter, the formatter and the type checker; the stubs fit the extension."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from generators import facts

ROOT = Path(__file__).resolve().parents[2]
PLACES = ("guestkit", "tests", "tools", "benchmarks", "examples")


def run(*command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=" ".join)
def test_ruff(command: list[str]) -> None:
    run("ruff", *command, ".")


def test_mypy_strict() -> None:
    run("mypy", *PLACES)


def test_the_stubs_fit_the_extension(tmp_path: Path) -> None:
    # The stubs have every action and option, the extension only those of the libguestfs it was built with.
    header = Path("/usr/include/guestfs.h").read_text(encoding="utf-8")
    allowed = [
        # Boost.Python's metaclass has no name that a stub could give.
        r"guestkit\._native\.Handle",
        r"guestkit\.handle\.Guestfs",
        r"guestkit\.compat\.GuestFS(\.\w+_opts)?",  # the aliases come from a table
        r"guestkit\.fs\.(file|copies)\.\w+",  # fsspec has no types, so a class of its class has no metaclass
        r"guestkit\.fs\.(copies|filesystem)\.\w+\.\w+",  # decorators hide methods, and add some
        # What Python 3.13 adds to dataclasses and TypedDicts, and stubtest does not know yet.
        r"guestkit\..*\.__(replace|mutable_keys|readonly_keys)__",
        r"guestkit\.aio\.call\.Call\.__iter__",  # only says what to do: to type checkers there is none
        # stubtest mistakes a Literal for a Union
        r"guestkit\.(handle_options\.(Accel|Tuning)|aio(\.call)?\.OnCancel|aio\.executor\.Pool|convert\.Preallocation|errors\.Clock)",
        r"guestkit\.(generated\.values\.(ApplianceMode|Cause|FileKind)|inspection\.(Mode|Part)|doctor\.Level|opening\.InUse|handle_options\.Sandbox)",
        r"guestkit\.(sboms\.SbomFormat|_language_packages\.Kind|reports\.end_of_life\.State|comparison\.Order|serving\.options\.Protocol)",
    ]
    for action in facts.load(ROOT / "api").actions:
        macros = [f"{action.option_macro}_{option.name.upper()}_BITMASK" for option in action.options]
        if not all(f" {macro} " in header for macro in [action.macro, *macros]):
            allowed.append(
                rf"guestkit\.(_native\.Handle|handle\.Guestfs|aio\.actions\.AsyncActions)\.{action.name}"
            )
    newer = tmp_path / "newer"
    newer.write_text("\n".join(allowed), encoding="utf-8")
    run(
        "mypy.stubtest", "guestkit", "--mypy-config-file", "pyproject.toml",
        "--allowlist", str(newer), "--ignore-unused-allowlist",
    )  # fmt: skip
    assert len(allowed) < 40  # nearly everything is compared
