"""The option that sets how long a fuzzer runs."""

from __future__ import annotations

from pathlib import Path

import pytest

#: How long all fuzzers together run by default, so that a new one makes the suite no longer.
TOGETHER = 120


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fuzz-seconds",
        type=int,
        default=None,
        help=f"how long each fuzzer runs; default: all together {TOGETHER}, with --full 600 each",
    )


@pytest.fixture
def seconds(pytestconfig: pytest.Config) -> int:
    given: int | None = pytestconfig.getoption("--fuzz-seconds")
    if given is not None:
        return given
    fuzzers = len(list(Path(__file__).parent.glob("corpus*")))
    return 600 if pytestconfig.getoption("--full") else TOGETHER // fuzzers
