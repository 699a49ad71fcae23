#!/usr/bin/env python3
"""Run long forms of the tests, part by part, while there is time: what `./run test --minutes N` runs.

Each day begins with the next part, so that each has its turn. A part that is stopped because the time is over
has not failed.

    --minutes N    the time for all of it
    --list         the parts, in today's order
"""

from __future__ import annotations

import argparse
import datetime
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
#: How long tests may take to end when they are interrupted, in seconds.
PATIENCE = 120.0
SANITIZERS = "tests/quality/test_sanitizers.py"
OTHERS = "compiles or tidy or other_compilers"
#: What each part gives to pytest. tests/trixie is not among them: it takes hours.
PARTS = {
    "threads": [SANITIZERS, "-k", "test_threads"],
    "other compilers": [SANITIZERS, "tests/quality/test_cpp_quality.py", "-k", OTHERS],
    "packages": ["tests/packaging", "tests/consumer", "tests/quality/test_long_forms.py"],
    "valgrind": [SANITIZERS, "-k", "test_valgrind"],
    "appliances": ["tests/appliance", "--deselect", "tests/appliance/test_corpus.py"],
    "commands and pages": ["tests/python", "tests/docs", "tests/quality/test_benchmarks.py"],
    "corpus": ["tests/appliance/test_corpus.py"],
    "Python under tools": [SANITIZERS, "-k", "test_the_extension or test_python"],
    "soak": ["tests/soak"],
    "fuzzers": ["tests/fuzz", "--fuzz-seconds", "120"],
    "addresses": [SANITIZERS, "-k", "addresses"],
    "soak under tools": [SANITIZERS, "-k", "short_soak"],
}


def rotation(today: datetime.date) -> list[str]:
    """Return the parts' names, in the order of that day."""
    names = list(PARTS)
    first = today.toordinal() % len(names)
    return names[first:] + names[:first]


def run_part(name: str, seconds: float) -> str:
    """Return how that part ended: "passed", "failed", or, nothing having failed until then, "stopped"."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.xml"
        command = [sys.executable, "-m", "pytest", "--full", "-m", "full", "-q"]
        command += ["-n", "auto", "--maxprocesses", "4"]  # each appliance takes memory
        with subprocess.Popen([*command, f"--junitxml={results}", *PARTS[name]], cwd=ROOT) as tests:
            try:
                return "passed" if tests.wait(seconds) == 0 else "failed"
            except subprocess.TimeoutExpired:
                tests.send_signal(signal.SIGINT)
                return "stopped" if _ends(tests) and not _failures(results) else "failed"
            except BaseException:
                tests.kill()
                raise


def _ends(tests: subprocess.Popen[bytes]) -> bool:
    """Wait for the end of tests that were interrupted; kill them if it does not come."""
    try:
        tests.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        tests.kill()
        return False
    return True


def _failures(results: Path) -> bool:
    """Return whether a test failed: the status says that the run was interrupted, whatever failed before."""
    (suite,) = ElementTree.parse(results).getroot().iter("testsuite")
    return not suite.get("failures") == suite.get("errors") == "0"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    order = rotation(datetime.datetime.now(datetime.UTC).date())
    print(f"long forms, in today's order: {', '.join(order)}", flush=True)
    if arguments.list:
        return 0
    end = time.monotonic() + 60 * arguments.minutes
    ended = {}
    for name in order:
        left = end - time.monotonic()
        if left < 60:
            print(f"long forms: {name}: not begun, the time is over", flush=True)
            continue
        print(f"long forms: {name}, for at most {left / 60:.0f} minutes", flush=True)
        ended[name] = run_part(name, left)
        print(f"long forms: {name}: {ended[name]}", flush=True)
    return 1 if "failed" in ended.values() else 0


if __name__ == "__main__":
    sys.exit(main())
