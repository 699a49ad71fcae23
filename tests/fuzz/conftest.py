"""The option that sets how long the fuzzer runs."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fuzz-seconds",
        type=int,
        default=None,
        help="how long each fuzzer runs; default 60, with --full 600",
    )


@pytest.fixture
def seconds(pytestconfig: pytest.Config) -> int:
    given: int | None = pytestconfig.getoption("--fuzz-seconds")
    return given if given is not None else 600 if pytestconfig.getoption("--full") else 60
