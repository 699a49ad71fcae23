#!/usr/bin/env python3
"""Make a release of what is committed: archives, wheels, packages, an image.

tools/release.py               make all of it in build/release/
tools/release.py --dry-run     print the commands, and what keeps this commit from being a release

What is made is told at the end, with the commands that are left to a person: the signed tag, and publishing.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
#: Where a version is written down.
VERSIONS = {
    "meson.build": r"^  version: '(.*)'",
    "pyproject.toml": r'^version = "(.*)"',
    "guestkit/__init__.py": r'^__version__ = "(.*)"',
    "include/guestkit/version.hpp": r'^#define GUESTKIT_VERSION "(.*)"',
    "debian/changelog": r"\A\w+ \((.*?)\)",
    "packaging/guestkit.spec": r"^Version: +(.*)$",
    "docs/guestkit.wrap": r"^revision = v(.*)$",
}

#: What the pages say before the first release, and not after it.
NO_RELEASE_YET = re.compile(r"not released yet|\bfirst release\b")


def versions() -> dict[str, str]:
    """Return the version that each of these files has, "" where there is none."""
    found = {}
    for name, pattern in VERSIONS.items():
        match = re.search(pattern, (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
        found[name] = match[1] if match else ""
    return found


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def obstacles(version: str) -> Iterator[str]:
    """Yield what keeps this commit from being the release of that version."""
    for name, found in versions().items():
        if found != version:
            yield f"{name}: has version {found or 'none'}, and meson.build {version}"
    if _git("status", "--porcelain"):
        yield "the checkout: has changes that are not committed"
    if _git("tag", "--list", f"v{version}"):
        yield f"v{version}: is released already"
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    if not re.search(rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", changes, re.MULTILINE):
        yield f'CHANGELOG.md: needs the day of the release: "## [{version}] - YYYY-MM-DD"'
    for page in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]):
        if NO_RELEASE_YET.search(page.read_text(encoding="utf-8")):
            yield f"{page.relative_to(ROOT)}: still says that there is no release yet"
    if " UNRELEASED;" in (ROOT / "debian/changelog").read_text(encoding="utf-8"):
        yield "debian/changelog: still says UNRELEASED"


def commands(version: str) -> list[list[str]]:
    """Return what makes the release, to be run in the root of a fresh clone below build/release."""
    name = f"guestkit-{version}"
    wheels = [["uv", "build", "--wheel", "--python", python, "--out-dir", "../plain"] for python in PYTHONS]
    rpm = '--define "_sourcedir $PWD/.." --define "_srcrpmdir $PWD/.."'
    return [
        ["git", "archive", f"--prefix={name}/", f"--output=../{name}.tar.gz", "HEAD"],
        ["uv", "build", "--sdist", "--out-dir", ".."],
        *wheels,
        ["sh", "-c", "auditwheel repair --exclude libguestfs.so.0 --wheel-dir .. ../plain/*.whl"],
        ["dpkg-buildpackage", "--build=binary", "--no-sign"],
        ["sh", "-c", f"rpmbuild -bs {rpm} packaging/guestkit.spec"],
        ["podman", "build", "--tag", f"guestkit:{version}", "."],
        ["sh", "-c", "cd .. && sha256sum -- *.* > SHA256SUMS"],
    ]


def left(version: str, commit: str) -> list[list[str]]:
    """Return the commands that sign and publish it, which need a person's keys.

    commit: what it was made from, which HEAD may no longer be when they are run
    """
    return [
        ["git", "tag", "--sign", "--message", f"guestkit {version}", f"v{version}", commit],
        ["git", "verify-tag", f"v{version}"],
        ["gpg", "--armor", "--detach-sign", "build/release/SHA256SUMS"],
        ["git", "push", "origin", f"v{version}"],
        ["sh", "-c", "twine upload build/release/*.whl build/release/libguestkit-*.tar.gz"],
    ]


def _told(what: Sequence[Sequence[str]]) -> str:
    return "".join(f"  {shlex.join(command)}\n" for command in what)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dry-run", action="store_true")
    arguments = parser.parse_args(words)
    version = versions()["meson.build"]
    wrong = list(obstacles(version))
    for one in wrong:
        print(f"release: {one}", file=sys.stderr)
    commit = _git("rev-parse", "HEAD").strip()
    if arguments.dry_run:
        print(f"guestkit {version}, in a clone below build/release:\n{_told(commands(version))}", end="")
    elif wrong:
        return 1
    else:
        place = ROOT / "build" / "release"
        place.mkdir(parents=True)  # an earlier release's files would be published, too
        subprocess.run(["git", "clone", "--quiet", ROOT, place / "clone"], check=True)
        subprocess.run(["git", "checkout", "--quiet", "--detach", commit], cwd=place / "clone", check=True)
        for command in commands(version):
            print(f"release: {shlex.join(command)}", flush=True)
            subprocess.run(command, cwd=place / "clone", check=True)
    print(f"then, by whoever has the keys:\n{_told(left(version, commit))}", end="")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
