"""What the tests with a real appliance share: launches are expensive."""

from __future__ import annotations

from pathlib import Path

import pytest

from guestkit.demo import make_demo_guest


@pytest.fixture(scope="session")
def demo_guest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo guest as a raw disk. Open it read-only: it is shared."""
    path = tmp_path_factory.mktemp("demo") / "demo.img"
    make_demo_guest(path)
    return path
