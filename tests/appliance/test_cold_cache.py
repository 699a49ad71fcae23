"""First launches, for which libguestfs has to build its appliance."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import guestkit
with guestkit.Guestfs(appliance="system") as g:
    g.add_drive_scratch(1 << 20)
    g.launch()
    assert g.list_devices() == ["/dev/sda"]
"""


@pytest.mark.parametrize("processes", [3, pytest.param(10, marks=pytest.mark.full)])
def test_first_launches_at_once_with_a_cold_cache_all_succeed(tmp_path: Path, processes: int) -> None:
    # Each process has its own log file, so that their messages do not mix.
    running = []
    for number in range(processes):
        with (tmp_path / f"log-{number}").open("wb") as log:
            running.append(
                subprocess.Popen(
                    [sys.executable, "-c", PROGRAM],
                    env=os.environ | {"LIBGUESTFS_CACHEDIR": str(tmp_path)},
                    stdout=log,
                    stderr=log,
                )
            )
    codes = [process.wait(600) for process in running]
    logs = [(tmp_path / f"log-{number}").read_text() for number in range(processes)]
    assert codes == [0] * processes, "\n".join(logs)
