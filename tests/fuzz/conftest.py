"""The option that sets how long a fuzzer runs."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fuzz-seconds", type=int, default=600, help="how long each fuzzer runs (default: %(default)s)"
    )


@pytest.fixture
def seconds(pytestconfig: pytest.Config) -> int:
    given: int = pytestconfig.getoption("--fuzz-seconds")
    return given
