"""What all suites share."""

from __future__ import annotations

from pathlib import Path

import pytest

from guestkit.demo import make_demo_guest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run the long forms too")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "full: a long form, run with --full only")
    config.addinivalue_line(
        "markers", "blocking_handle: about the blocking handle's threads and memory alone"
    )


#: Long tests that share nothing: each goes to the process that is free. Others stay with their module, which
#: shares an appliance.
SPREAD = ("test_sanitizers.py", "test_cpp_quality.py")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.name not in SPREAD:
            item.add_marker(pytest.mark.xdist_group(str(item.path)))
    if config.getoption("--full"):
        return
    long_forms = [item for item in items if item.get_closest_marker("full")]
    config.hook.pytest_deselected(items=long_forms)
    items[:] = [item for item in items if item not in long_forms]


@pytest.fixture(scope="session")
def demo_guest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo guest as a raw disk. Open it read-only: it is shared."""
    path = tmp_path_factory.mktemp("demo") / "demo.img"
    make_demo_guest(path)
    return path
