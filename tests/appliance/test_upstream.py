"""Run libguestfs' own tests of its Python binding, from its source package, against guestkit.compat."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest

pytestmark = pytest.mark.full

#: Tests that fail because of a difference in docs/coming-from-python-guestfs.md, and their messages.
DIFFERENT = {"test_rhbz1406906": "UnicodeDecodeError not raised"}  # such names are returned as str
#: Tests that skip themselves without libvirt-python, or without libvirt as the backend.
NEED_LIBVIRT = {"test_libvirt", "test_rhbz912499"}

RUNNER = """
import json, sys, unittest
result = unittest.TestResult()
unittest.defaultTestLoader.discover("t", top_level_dir=".").run(result)
outcome = {kind: [(test.id(), text) for test, text in getattr(result, kind)]
           for kind in ("failures", "errors", "skipped")}
with open(sys.argv[1], "w") as file:
    json.dump(outcome | {"run": result.testsRun}, file)
"""


def command(arguments: Sequence[str | Path], folder: Path) -> str:
    """Run a program in a folder; return what it wrote to stdout."""
    try:
        done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False, timeout=600)
    except OSError as error:
        no_source(str(error))
    if done.returncode != 0:
        no_source(f"{arguments[0]} failed: {done.stderr}")
    return done.stdout


def no_source(reason: str) -> NoReturn:
    pytest.fail(
        "libguestfs' source is needed for its own tests. Either name the folder of an unpacked release in "
        "GUESTKIT_UPSTREAM, or let this test fetch the source package by apt, which needs the network and a "
        f"libguestfs that was installed by apt.\n{reason}",
        pytrace=False,
    )


def fetch(folder: Path) -> Path:
    """Have apt fetch the source of the installed libguestfs, and write nothing outside the folder."""
    policy = command(["apt-cache", "policy", "libguestfs0"], folder)
    origins = sorted(
        set(re.findall(r"^ +\d+ (https?://\S+) (\S+)/(\S+) \S+ Packages$", policy, re.MULTILINE))
    )
    if not origins:
        no_source("apt knows no repository that has libguestfs0.")
    lines = [f"deb-src {site} {release} {component}\n" for site, release, component in origins]
    (folder / "sources.list").write_text("".join(lines), encoding="utf-8")
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    places = {
        "Dir::Etc::SourceList": folder / "sources.list", "Dir::Etc::SourceParts": "-",
        "Dir::State::Lists": folder / "lists", "Dir::Cache": folder / "cache",
    }  # fmt: skip
    apt = ["apt-get", "--quiet", "--option", "APT::Update::Error-Mode=any"]
    for name, place in places.items():
        apt += ["--option", f"{name}={place}"]
    command([*apt, "update"], folder)
    version = command(["dpkg-query", "--show", "--showformat=${source:Version}", "libguestfs0"], folder)
    command([*apt, "source", "--download-only", f"libguestfs={version}"], folder)
    tarballs = [path for path in folder.glob("*.orig.tar.*") if path.suffix != ".asc"]
    unpacked = folder / "libguestfs"
    unpacked.mkdir()
    wanted = ["*/python/t", "*/python/bindtests.py", "*/bindtests", "*/phony-guests/guests.xml.in"]
    command(
        ["tar", "--extract", "--strip-components=1", "--wildcards", "--file", *tarballs, *wanted], unpacked
    )
    return unpacked


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    given = os.environ.get("GUESTKIT_UPSTREAM")
    source = Path(given) if given else fetch(tmp_path_factory.mktemp("upstream"))
    for name in ("python/t", "python/bindtests.py", "bindtests"):
        if not (source / name).exists():
            no_source(f"{source} has no {name}: is it a release of libguestfs?")
    return source


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment where `import guestfs` imports guestkit.compat and libvirt's test driver has a disk."""
    modules, guests = tmp_path / "modules", tmp_path / "guests"
    modules.mkdir()
    guests.mkdir()
    (modules / "guestfs.py").write_text("from guestkit.compat import *\n", encoding="utf-8")
    with (guests / "blank-disk.img").open("wb") as disk:
        disk.truncate(1 << 20)
    return os.environ | {
        "PYTHONPATH": str(modules), "guestsdir": str(guests), "LIBVIRT_DEFAULT_URI": "test:///default",
    }  # fmt: skip


def test_upstream_s_python_tests_pass(source: Path, environment: dict[str, str], tmp_path: Path) -> None:
    # Run copies of the tests: beside the originals, they would import upstream's own guestfs.py.
    folder = tmp_path / "python"
    (folder / "t").mkdir(parents=True)
    for path in (source / "python" / "t").glob("*.py"):
        (folder / "t" / path.name).write_bytes(path.read_bytes())

    def configured(path: Path) -> str:
        values = {
            "@LIBVIRT_LIBS@": "-lvirt",
            "@abs_builddir@": environment["guestsdir"],
            "@configure_input@": "",
        }
        text = path.read_text(encoding="utf-8")
        for name, value in values.items():
            text = text.replace(name, value)
        return text

    for template, target in (
        ("python/t/tests_helper.py.in", folder / "t"),
        ("test-data/phony-guests/guests.xml.in", Path(environment["guestsdir"])),
    ):
        (target / Path(template).stem).write_text(configured(source / template), encoding="utf-8")

    result = tmp_path / "result"
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, result], cwd=folder, env=environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    outcome = json.loads(result.read_text(encoding="utf-8"))

    def texts(kind: str) -> dict[str, str]:
        return {name.rpartition(".")[2]: text for name, text in outcome[kind]}

    assert texts("errors") == {}
    failures = texts("failures")
    assert failures.keys() == DIFFERENT.keys(), "\n".join(failures.values())
    for name, text in failures.items():
        assert DIFFERENT[name] in text
    assert texts("skipped").keys() <= NEED_LIBVIRT
    assert outcome["run"] >= 37


def test_upstream_s_bindtests_pass(source: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", (source / "python" / "bindtests.py").read_text(encoding="utf-8")],
        env=environment, capture_output=True, check=False,
    )  # fmt: skip
    assert done.stderr == b""
    assert done.stdout == (source / "bindtests").read_bytes()
