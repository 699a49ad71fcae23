"""Images with LUKS, which qemu-img sometimes fails to make."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


def patiently(make: Callable[[], T]) -> T:
    """Call `make` until it succeeds: for LUKS, qemu-img times the processor, which fails on a busy one."""
    for _ in range(20):
        with suppress(subprocess.CalledProcessError):
            return make()
    return make()
