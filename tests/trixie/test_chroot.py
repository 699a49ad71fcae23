"""The parts of `tests/chroot.py` that make no Debian."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests import chroot


def test_another_debian_gets_what_run_installs() -> None:
    packages = chroot.packages_of_run()
    assert {"g++", "libguestfs-dev", "python3-guestfs", "valgrind"} <= set(packages)
    assert all(" " not in package and "(" not in package for package in packages)


def test_a_clone_has_what_is_not_committed_and_lacks_what_was_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout, debian = tmp_path / "checkout", tmp_path / "debian"
    checkout.mkdir()
    for name in ("kept", "changed", "removed"):
        (checkout / name).write_text("committed")
    (checkout / ".gitignore").write_text("build\n")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "a"]):
        subprocess.run([*git, *words], cwd=checkout, check=True)
    (checkout / "changed").write_text("changed")
    (checkout / "removed").unlink()
    for name in ("new/file", "build/object"):
        (checkout / name).parent.mkdir()
        (checkout / name).write_text("new")
    monkeypatch.setattr(chroot, "ROOT", checkout)
    place = debian / chroot.Chroot(debian).clone("/srv/checkout").lstrip("/")
    names = {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()}
    texts = {name: (place / name).read_text() for name in names if not name.startswith(".git")}
    assert texts == {"kept": "committed", "changed": "changed", "new/file": "new"}
