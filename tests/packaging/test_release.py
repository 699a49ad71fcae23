"""What makes a release: it tells what is not ready, and what it would do."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import release

from tests.consumer.test_consumers import repository


def test_every_file_has_the_version_of_the_release() -> None:
    assert set(release.versions().values()) == {release.versions()["meson.build"]}


@pytest.fixture
def ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout that can be released."""
    root = repository(tmp_path / "sources")
    monkeypatch.setattr(release, "ROOT", root)
    for name, before, after in (
        ("CHANGELOG.md", "## [0.4.0] - unreleased", "## [0.4.0] - 2026-12-01"),
        ("debian/changelog", "UNRELEASED", "unstable"),
    ):
        path = root / name
        path.write_text(path.read_text(encoding="utf-8").replace(before, after), encoding="utf-8")
    for page in (*root.glob("*.md"), *root.glob("docs/*.md")):
        text = release.NO_RELEASE_YET.sub("released", page.read_text(encoding="utf-8"))
        page.write_text(text, encoding="utf-8")
    commit(root)
    subprocess.run(["git", "tag", "--delete", "v0.4.0"], cwd=root, check=True, stdout=subprocess.DEVNULL)
    return root


def commit(root: Path) -> None:
    who = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org"]
    subprocess.run(["git", *who, "commit", "--quiet", "--all", "--message", "Release"], cwd=root, check=True)


def test_a_dry_run_tells_each_command(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert release.main(["--dry-run"]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    for part in ("--sdist", "--python 3.11", "--python 3.14", "auditwheel", "dpkg-buildpackage", "rpmbuild",
                 "podman build", "SHA256SUMS", "git tag --sign", "twine upload"):  # fmt: skip
        assert part in told.out
    assert not (ready / "build").exists()


def test_the_tag_was_of_whatever_was_committed_meanwhile(
    ready: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def head(place: Path) -> str:
        words = ["git", "rev-parse", "HEAD"]
        return subprocess.run(words, cwd=place, check=True, capture_output=True, text=True).stdout.strip()

    built = head(ready)
    meanwhile = "git -C ../../.. -c user.name=x -c user.email=x commit -q --allow-empty -m Later"
    monkeypatch.setattr(release, "commands", lambda version: [["sh", "-c", meanwhile]])
    assert release.main([]) == 0
    assert head(ready) != built == head(ready / "build" / "release" / "clone")
    assert f"'guestkit 0.4.0' v0.4.0 {built}\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "before", "after", "told"),
    [
        ("CHANGELOG.md", "2026-12-01", "unreleased", "CHANGELOG.md: needs the day of the release"),
        ("debian/changelog", "unstable", "UNRELEASED", "debian/changelog: still says UNRELEASED"),
        ("README.md", "0.4.0 is", "0.4.0 is not released yet", "README.md: still says that there is no"),
        ("pyproject.toml", '"0.4.0"', '"0.4.1"', "pyproject.toml: has version 0.4.1, and meson.build 0.4.0"),
    ],
)
def test_what_is_not_ready_is_told_and_nothing_is_made(
    name: str, before: str, after: str, told: str, ready: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = ready / name
    path.write_text(path.read_text(encoding="utf-8").replace(before, after), encoding="utf-8")
    assert release.main([]) == 1
    said = capsys.readouterr().err
    assert told in said
    assert "the checkout: has changes that are not committed" in said
    commit(ready)
    assert release.main([]) == 1
    assert capsys.readouterr().err == f"release: {told}" + said.partition(told)[2].partition("\n")[0] + "\n"
    assert not (ready / "build").exists()


def test_a_version_is_released_once(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    subprocess.run(["git", "tag", "v0.4.0"], cwd=ready, check=True)
    assert release.main([]) == 1
    assert "v0.4.0: is released already" in capsys.readouterr().err
