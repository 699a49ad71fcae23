"""What a program leaves that ends while handles are open."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

#: Seconds; only something that hangs takes longer.
PATIENCE = 60

#: Drops a handle whose hypervisor closes slowly, since it is stopped, and ends.
DROPPING = """
import asyncio, os, signal, sys
from guestkit import AsyncGuestfs

async def main():
    g = AsyncGuestfs()
    await g.open_disk(sys.argv[1])
    await g.launch()
    pid = await g.get_pid()
    os.kill(pid, signal.SIGSTOP)
    print(pid, flush=True)

asyncio.run(main())
"""


def test_a_program_that_ended_left_a_handle_that_it_had_just_dropped(
    demo_guest: Path, tmp_path: Path
) -> None:
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", DROPPING, demo_guest],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        pid = int(program.stdout.readline())
        try:
            with pytest.raises(subprocess.TimeoutExpired):
                program.wait(1)  # until its hypervisor goes on
        finally:
            os.kill(pid, signal.SIGCONT)
        assert program.wait(PATIENCE) == 0
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".guestfs-")] == []
