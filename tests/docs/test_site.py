"""The documentation becomes a site without a warning, with every action, and loads nothing from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from generators import facts

from guestkit.generated.values import Cause

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(place)]
    told = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=told, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return place


@pytest.mark.parametrize(
    ("page", "anchor"),
    [("headers/classguestkit_1_1basic__guestfs.html", r"\b{}\b"), ("actions.html", r'id="{}"')],
    ids=["C++", "Python"],
)
def test_the_references_have_every_action(site: Path, page: str, anchor: str) -> None:
    text = (site / "reference" / page).read_text(encoding="utf-8")
    names = [action.name for action in facts.load(ROOT / "api").actions]
    assert [name for name in names if not re.search(anchor.format(name), text)] == []


def test_the_reference_has_what_python_programs_use(site: Path) -> None:
    text = (site / "reference" / "python.html").read_text(encoding="utf-8")
    for name in ("Guestfs.open_disk", "inspect_many", "open_guest", "GuestFileSystem", "CallTimeout"):
        assert re.search(rf'id="guestkit\.[\w.]*{re.escape(name)}"', text), name


@pytest.mark.parametrize(
    ("page", "name"), [("python", "guestkit.fleet.inspect"), ("aio", "guestkit.aio.inspect")]
)
def test_inspect_was_shown_with_an_inner_value_and_its_arguments_not(
    site: Path, page: str, name: str
) -> None:
    text = (site / "reference" / f"{page}.html").read_text(encoding="utf-8")
    assert not re.search(r"\bArgs:|\bRaises:\s", text)
    _, _, of_inspect = text.partition(f'id="{name}"')
    signature = re.sub(r"<[^>]+>", "", of_inspect.partition("</code></pre>")[0])
    assert re.search(r"inspect\(\s*disk: .*\btimeout: ", signature, re.DOTALL)


def test_the_catalogue_has_every_cause(site: Path) -> None:
    text = (site / "causes.html").read_text(encoding="utf-8")
    assert [cause for cause in get_args(Cause) if f'id="{cause}"' not in text] == []


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = [page for page in site.rglob("*.html") if "headers" not in page.parts]
    assert len(pages) > 20
    for page in pages:
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe)[^>]*\ssrc=\"?(https?:[^\s\">]+)", text)
        loaded += re.findall(r"<link[^>]*rel=\"?stylesheet[^>]*href=\"?(https?:[^\s\">]+)", text)
        assert loaded == [], page


def test_what_readme_links_to_is_there(site: Path) -> None:
    for link in ("fast-launch.html", "cli.html", "source/benchmarks/kvm.sh", "source/examples/index.html"):
        assert f'href="{link}' in (site / "index.html").read_text(encoding="utf-8")
        assert (site / link).exists()
