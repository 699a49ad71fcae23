"""The files that the guides for developers name exist, and the documents' links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
] + sorted((ROOT / "docs").glob("*.md"))
ROOMS = (
    "api",
    "appliance",
    "benchmarks",
    "bindings",
    "boost",
    "docs",
    "examples",
    "guestkit",
    "include",
    "src",
    "subprojects",
    "tests",
    "tools",
)


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_files_that_a_guide_for_developers_names_are_there(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    named = set(re.findall(rf"(?<![\w/.])(?:{'|'.join(ROOMS)})/[\w./]*", text))
    assert len(named) > 5
    missing = [path for path in sorted(named) if not (ROOT / path.rstrip(".")).exists()]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\((?!https?://)([^)#]+)", text)
    missing = [link for link in links if not (document.parent / link).exists()]
    assert missing == []


def test_readme_leads_to_every_guide() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    guides = {path.name for path in (ROOT / "docs").glob("*.md")} - {"architecture.md"}
    assert [name for name in sorted(guides) if f"docs/{name}" not in text] == []
