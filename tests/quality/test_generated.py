"""The generated files match the facts."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def check(root: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "tools" / "generate.py"), "--check"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for folder in ("api", "tools", "include", "bindings", "guestkit"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_the_generated_files_are_up_to_date() -> None:
    done = check(ROOT)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "name",
    ["include/guestkit/generated/actions.hpp", "bindings/generated/methods.cpp", "guestkit/_native.pyi"],
)
def test_an_edited_or_missing_file_is_named(copy: Path, name: str) -> None:
    with open(copy / name, "a", encoding="utf-8") as file:
        file.write("\n")
    done = check(copy)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert name in done.stderr
    (copy / name).unlink()
    assert name in check(copy).stderr
    subprocess.run([sys.executable, str(copy / "tools" / "generate.py")], check=True, capture_output=True)
    assert check(copy).returncode == 0


@pytest.mark.parametrize("name", ["by_hand.cpp", "without_suffix", "deeper/by_hand.cpp"])
def test_a_file_that_nothing_generates_is_named(copy: Path, name: str) -> None:
    path = copy / "bindings" / "generated" / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    done = check(copy)
    assert done.returncode == 1
    assert f"{name} is not generated" in done.stderr


def test_a_generated_file_that_is_no_text_is_named(copy: Path) -> None:
    (copy / "guestkit" / "generated" / "structs.py").write_bytes(b"\xff")
    done = check(copy)
    assert done.returncode == 1
    assert "guestkit/generated/structs.py differs" in done.stderr
