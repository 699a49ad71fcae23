"""What a command takes, together with all processes that it starts."""

from __future__ import annotations

import os
import resource
import select
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

INTERVAL = 0.25  # seconds between two looks at the memory
LOOKS = 0.02  # the part of a processor that they may take


@dataclass(frozen=True)
class Ran:
    """How a command ran.

    Attributes:
        seconds: by the clock
        cpu: seconds of the processors
        peak: the most memory at any look, in bytes; what processes share is counted once
        failed: whether its exit status says so
        output: what it wrote to stdout
    """

    seconds: float
    cpu: float
    peak: int
    failed: bool
    output: bytes


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Ran:
    """Run the command to its end."""
    peak, pause, before, begun = 0, INTERVAL, _cpu(), time.perf_counter()
    with tempfile.TemporaryFile() as output:
        with subprocess.Popen(command, env=environment, stdout=output) as process:
            ended = os.pidfd_open(process.pid)
            while not select.select([ended], [], [], pause)[0]:
                looked = time.thread_time()
                peak = max(peak, memory(process.pid))
                pause = max(INTERVAL, (time.thread_time() - looked) / LOOKS)
            os.close(ended)
            failed = process.wait() != 0
        seconds = time.perf_counter() - begun
        output.seek(0)
        return Ran(seconds, _cpu() - before, peak, failed, output.read())


def memory(pid: int) -> int:
    """Return the memory of the process and all that it has started, in bytes (PSS)."""
    total = 0
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                total += one.memory_full_info().pss
    return total


def _cpu() -> float:
    """Return the seconds of the processors that child processes took which have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
