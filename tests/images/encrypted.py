"""Images with LUKS, which qemu-img does not always manage to make."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


def patiently(make: Callable[[], T]) -> T:
    """Call `make` until it succeeds: for LUKS, qemu-img measures the processor, in vain on a busy one."""
    for _ in range(20):
        with suppress(subprocess.CalledProcessError):
            return make()
    return make()
