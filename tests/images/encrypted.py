"""Images with LUKS, which qemu-img sometimes fails to make."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")

#: Options of LUKS with which a key is derived in no time. A slow hash: qemu-img times it by ticks of the
#: processor's clock, and on most attempts a fast one takes less than a tick, which is an error.
QUICK = {"hash-alg": "sha512", "iter-time": "10"}


def patiently(make: Callable[[], T]) -> T:
    """Call `make` until it succeeds: what qemu-img measures fails on a busy processor, too."""
    for _ in range(20):
        with suppress(subprocess.CalledProcessError):
            return make()
    return make()


def luks_options(prefix: str = "", **others: str) -> str:
    """Return the value of qemu-img's `-o` for LUKS with the secret named "s"."""
    options = {"key-secret": "s", **others, **QUICK}
    return ",".join(f"{prefix}{name}={value}" for name, value in options.items())
