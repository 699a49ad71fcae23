"""Debian 13, a second home: the same commands and the same tests pass there as on Debian 12."""

from __future__ import annotations

import json
import os
import re

import pytest

from tests.chroot import Chroot, kept

pytestmark = [
    pytest.mark.full,
    pytest.mark.timeout(8 * 3600),  # three suites, emulated
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make another Debian and to enter it"),
]

CLONE = "/srv/guestkit"


@pytest.fixture(scope="module")
def trixie() -> Chroot:
    debian = kept("trixie")
    debian.clone(CLONE)
    return debian


#: What the last command has written so far, in the chroot: the suites take an hour.
LOG = "/srv/log"


def run(debian: Chroot, *words: str) -> str:
    """Run one of the checkout's commands; return what it wrote to stdout."""
    command = ("bash", "-o", "pipefail", "-c", f'./run "$@" | tee {LOG}', "run")
    done = debian.run(*command, *words, directory=CLONE)
    assert done.returncode == 0, (done.stdout + done.stderr)[-10000:]
    assert "is missing" not in done.stderr
    return done.stdout


def passed(output: str) -> int:
    """Return how many tests have passed, by pytest's closing line; no other may have failed."""
    closing = output.rstrip().splitlines()[-1]
    assert re.search(r"\bfailed|\berror", closing) is None, closing
    number = re.search(r"(\d+) passed", closing)
    assert number is not None, closing
    return int(number[1])


def test_the_demo_is_inspected_after_the_set_up(trixie: Chroot) -> None:
    (report,) = json.loads(run(trixie, "inspect", "--json"))
    provenance = report["inspection"]["provenance"]
    assert provenance["libguestfs"].startswith("1.54.")
    assert (provenance["way"], provenance["reason"]) == ("fast", "")


def test_the_fast_paths_were_off_and_nothing_told_it(trixie: Chroot) -> None:
    """Regression: with QEMU 10 no appliance was warm, and with libguestfs 1.54 no inspection was fast."""
    findings = json.loads(run(trixie, "exec", "guestkit", "doctor", "--json"))
    found = {finding["name"]: finding for finding in findings}
    assert found["appliance"]["message"].startswith("a warm appliance is ready")
    assert found["inspection"]["level"] == "ok"


def test_clang_19_refused_boost_s_futures(trixie: Chroot) -> None:
    (trixie.root / "tmp/program.cpp").write_text("#include <guestkit/inspect_many.hpp>\nint main() {}\n")
    options = ("-std=c++20", "-DBOOST_THREAD_VERSION=5", "-Wall", "-Wextra", "-Wpedantic", "-Werror")
    run(trixie, "exec", "clang++", *options, "-fsyntax-only", "/tmp/program.cpp")


def test_the_suites_pass(trixie: Chroot) -> None:
    assert passed(run(trixie, "test", "python", "cpp", "appliance", "--", "-v")) > 4000


def test_the_corpus_and_appliances_of_ordinary_users(trixie: Chroot) -> None:
    words = ("--full", "appliance", "--", "-v", "-k", "corpus or ordinary_user")
    assert passed(run(trixie, "test", *words)) > 90
