"""Shared by all suites."""

from __future__ import annotations

import faulthandler
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_timeout import Settings  # type: ignore[import-untyped]
from xdist.remote import Producer  # type: ignore[import-untyped]
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]
from xdist.workermanage import WorkerController  # type: ignore[import-untyped]

from guestkit.demo import make_demo_guest
from tests.watching import DEADLINE, ENDING, STDERR, watch


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run the long forms, too")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[STDERR] = os.dup(2)
    config.addinivalue_line("markers", "full: a long form, run with --full only")
    config.addinivalue_line("markers", "blocking_handle: only about the blocking handle's threads and memory")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background job
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Settings) -> Iterator[None]:
    item.config.stash[DEADLINE] = time.monotonic() + float(settings.timeout) + ENDING
    watch(item.config)
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_timeout_cancel_timer(item: pytest.Item) -> Iterator[None]:
    faulthandler.cancel_dump_traceback_later()
    return (yield)


def pytest_enter_pdb() -> None:
    faulthandler.cancel_dump_traceback_later()


class ByModule(LoadScopeScheduling):  # type: ignore[misc]
    """Runs a module's tests, which share an appliance, in one process; spreads long, independent ones.

    pytest-xdist's groups would do, but pytest-xdist 3.8 does not recognise them with pytest 9.2.
    """

    SPREAD = ("test_sanitizers.py", "test_cpp_quality.py")
    #: Folders whose modules share what takes minutes to make, in one process, too.
    TOGETHER = ("tests/packaging",)

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        folder = module.rpartition("/")[0]
        return nodeid if module.endswith(self.SPREAD) else folder if folder in self.TOGETHER else module

    def remove_node(self, node: WorkerController) -> str | None:
        """Give what a process that ended has left to others, but not the test at which it ended.

        pytest-xdist would run that one again, and so end one process after the other.
        """
        left = self.assigned_work[node]
        running = next((each for unit in left.values() for each, done in unit.items() if not done), None)
        if running is not None:
            left[self._split_scope(running)][running] = True
        for scope in [scope for scope, unit in left.items() if all(unit.values())]:
            del left[scope]
        super().remove_node(node)
        return running


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    return ByModule(config, log)


#: Suites whose few tests take minutes begin, so that at the end no process waits for the other.
FIRST = ("tests/packaging", "tests/consumer", "tests/fuzz", "tests/soak", "tests/quality", "tests/appliance")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    places = {suite: place for place, suite in enumerate(FIRST)}
    items.sort(key=lambda item: places.get("/".join(item.nodeid.split("/")[:2]), len(FIRST)))
    if config.getoption("--full"):
        return
    long_forms = [item for item in items if item.get_closest_marker("full")]
    config.hook.pytest_deselected(items=long_forms)
    items[:] = [item for item in items if item not in long_forms]


@pytest.fixture(scope="session")
def open_checkout() -> None:
    """Skip where other users' programs cannot import from the checkout, such as below /root."""
    here = Path(__file__).resolve()
    for folder in here.parents:
        if folder.stat().st_mode & 0o005 != 0o005:
            pytest.skip(f"other users cannot enter {folder}")


@pytest.fixture(scope="session")
def demo_guest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo guest as a raw disk. Open it read-only: it is shared."""
    path = tmp_path_factory.mktemp("demo") / "demo.img"
    make_demo_guest(path)
    return path
