"""The documents about the command line match its parser."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from guestkit._extras import LIBRARIES, install
from guestkit.cli.parser import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
GENERATED = ROOT / "docs" / "generated"


def write(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "tools" / "cli_docs.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_document_the_manual_and_the_completions_are_up_to_date() -> None:
    done = write(ROOT, "--check")
    assert done.returncode == 0, done.stderr


def test_an_edited_or_missing_file_is_named(tmp_path: Path) -> None:
    for folder in ("api", "tools", "docs"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "docs" / "cli.md").open("a", encoding="utf-8") as file:
        file.write("\n")
    (tmp_path / "docs" / "causes.md").unlink()
    (tmp_path / "docs" / "generated" / "guestkit.1").unlink()
    done = write(tmp_path, "--check")
    assert done.returncode == 1
    assert [line.split(" ")[0] for line in done.stderr.splitlines()] == [
        "docs/cli.md",
        "docs/causes.md",
        "docs/generated/guestkit.1",
    ]
    assert write(tmp_path).returncode == 0
    assert write(tmp_path, "--check").returncode == 0


def test_the_tables_links_lead_to_the_commands() -> None:
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    linked = re.findall(r"^\| \[(\w+)\]\(#\1\) \| \w", text, re.MULTILINE)
    assert linked == re.findall(r"^## (.*)$", text, re.MULTILINE) == list(COMMANDS)


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["guestkit", "do"], {"doctor"}),
        (["guestkit", "inspect", "--js"], {"--json", "--jsonl"}),
        (["guestkit", "convert", "--to", "q"], {"qcow", "qcow2"}),
    ],
)
def test_bash_completes(words: list[str], completed: set[str]) -> None:
    program = f"""
source {GENERATED / "guestkit.bash"}
COMP_WORDS=({" ".join(words)}) COMP_CWORD={len(words) - 1}
$(complete -p guestkit | sed 's/.*-F \\([^ ]*\\).*/\\1/') 2>/dev/null
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True)
    assert {word.strip() for word in done.stdout.split("\n") if word.strip()} == completed


def test_the_manual_page_names_every_command() -> None:
    text = (GENERATED / "guestkit.1").read_text(encoding="utf-8")
    assert text.startswith('.TH GUESTKIT "1"')
    for name in (
        "inspect",
        "ls",
        "cat",
        "cp",
        "df",
        "report",
        "sbom",
        "diff",
        "info",
        "convert",
        "doctor",
        "appliance",
    ):
        assert f"guestkit {name}" in text


def test_what_run_installs_is_what_the_package_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = re.findall(r"^([\w-]+)==", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)
    extras = project["optional-dependencies"]
    needed = [*project["dependencies"], *itertools.chain.from_iterable(extras.values())]
    assert [re.split(r"[<>=!~]", one)[0] for one in needed] == pinned


def test_a_missing_library_is_installed_in_a_release_that_fits() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {extra: list(libraries) for extra, libraries in LIBRARIES.items()} == project[
        "optional-dependencies"
    ]
    assert install("serve") == "pip install 'aiohttp>=3.14.5' 'asyncssh>=2.18,<2.25'"
