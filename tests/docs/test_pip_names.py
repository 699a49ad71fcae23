"""What users are told to install from PyPI is ours."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

#: Where the names of other people's packages stand, to warn of them.
WARNS = (
    "README.md",
    "pyproject.toml",
    "CHANGELOG.md",
    "docs/coming-from-rust-guestkit.md",
    "tests/docs/test_pip_names.py",
)


def texts() -> dict[str, str]:
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-z"], capture_output=True, text=True, check=True
    ).stdout
    found = {}
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if path.is_file():
            found[name] = path.read_text(encoding="utf-8", errors="replace")
    return found


def test_no_text_has_users_install_somebody_elses_package() -> None:
    """Regression: PyPI's `guestkit` is another project's."""
    everything = texts()
    assert "README.md" in everything
    for name, text in everything.items():
        if name not in WARNS:
            assert not re.search(r"(zyvor|hypersdk)-guestkit", text), name
            assert not re.search(r"pip3? (install|download) [^`\n]*(?<![\w./-])guestkit\b(?!/)", text), name


def test_run_and_pip_take_the_same_boost() -> None:
    (pinned,) = re.findall(
        r"^cmeel-boost==([\d.]+)$", (ROOT / "requirements-boost.txt").read_text(), re.MULTILINE
    )
    assert f'"cmeel-boost ~= {pinned}"' in (ROOT / "tools" / "build_backend.py").read_text(encoding="utf-8")
    wrap = (ROOT / "subprojects" / "boost-python.wrap").read_text(encoding="utf-8")
    assert f"boost_{pinned.replace('.', '_')}.tar.bz2" in wrap


def test_the_distribution_has_our_own_name() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["name"] == "libguestkit"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "**The distribution is called `libguestkit`**" in readme
    assert "What clashes today is `zyvor-guestkit`" in readme
