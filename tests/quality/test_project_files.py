"""The files by which other programs know the project: workflows, dependabot, pre-commit, editors."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def load(path: Path) -> dict[Any, Any]:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def tracked() -> list[Path]:
    """Return the files that git knows; skip the test where there is no git, as in an unpacked archive."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("this is no checkout of git")
    return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()]


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("vendor.github-workflows", WORKFLOWS),
        ("custom.github-workflows-require-timeout", WORKFLOWS),
        ("vendor.dependabot", [ROOT / ".github" / "dependabot.yml"]),
    ],
)
def test_the_hosts_of_these_files_understand_them(schema: str, files: list[Path]) -> None:
    assert files
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_only_read_and_runs_nobodys_later_code(path: Path) -> None:
    workflow = load(path)
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert "permissions" not in job
        for step in job["steps"]:
            action = step.get("uses", "")
            assert not action or re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action), action
            if action.startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False
            # What a pull request can name must not become part of a script.
            assert "${{ github." not in step.get("run", "")


def test_every_suite_runs_on_debian_12_and_13_and_fedora() -> None:
    job = load(ROOT / ".github" / "workflows" / "test.yml")["jobs"]["suites"]
    images = [row["image"] for row in job["strategy"]["matrix"]["include"]]
    assert images == ["debian:12", "debian:13", "fedora:latest"]
    assert {"run": "./run test"} in job["steps"]


def test_wheels_are_built_for_each_python_that_the_package_names() -> None:
    (job,) = load(ROOT / ".github" / "workflows" / "wheels.yml")["jobs"].values()
    classifiers = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    named = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', classifiers)
    assert named
    assert set(named) <= set(job["strategy"]["matrix"]["python"])


def test_pre_commit_understands_its_hooks() -> None:
    command = [sys.executable, "-m", "pre_commit", "validate-config", ".pre-commit-config.yaml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_hook_runs_a_program_that_the_set_up_installs() -> None:
    (repository,) = load(ROOT / ".pre-commit-config.yaml")["repos"]
    hooks = {hook["id"]: hook["entry"].split() for hook in repository["hooks"]}
    assert {"ruff-check", "ruff-format", "mypy", "clang-format", "generated", "cli-docs"} <= set(hooks)
    wanted = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8").splitlines()
    installed = {f"build/venv/bin/{line.partition('==')[0]}" for line in wanted} | {"build/venv/bin/python"}
    for program, *arguments in hooks.values():
        assert program in installed
        assert [word for word in arguments if word.endswith(".py") and not (ROOT / word).is_file()] == []


def test_the_hooks_pass_on_this_checkout() -> None:
    """The others are tests of this suite already."""
    tracked()
    command = [sys.executable, "-m", "pre_commit", "run", "ruff-check", "--all-files"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_files_are_as_editors_are_told() -> None:
    wrong = []
    for path in tracked():
        data = path.read_bytes()
        if b"\0" in data or "screens" in path.parts or path.parent.name.startswith("corpus"):
            continue
        if not data.endswith(b"\n") and data:
            wrong.append(f"{path}: no newline at its end")
        if b"\r" in data:
            wrong.append(f"{path}: carriage returns")
        if re.search(rb"[ \t]$", data, re.MULTILINE):
            wrong.append(f"{path}: blanks at the end of a line")
    assert wrong == []
