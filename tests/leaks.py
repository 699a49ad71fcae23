"""Counts what calls leave behind.

Two counters are exact: the bytes allocated by C's malloc, which hold libguestfs' results and C++ values, and
the blocks of Python's allocator. The size of the process shows leaks that neither sees, and reference counts
those of immortal objects, which take no memory.
"""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
import sys
from collections.abc import Callable
from pathlib import Path

from guestkit import Error, Guestfs, HandleClosed

#: Under valgrind or a sanitizer, a few calls of each kind suffice, and nothing is counted: such a tool finds
#: even a single leak, is slow, and has an allocator that keeps freed memory.
COUNTED = "GUESTKIT_MEMORY_CALLS" not in os.environ
CALLS = int(os.environ.get("GUESTKIT_MEMORY_CALLS", "10000"))

#: Objects that conversions return and that live as long as the interpreter. Since Python 3.12 the constants
#: among them have no count: nobody can take too few or too many references to them.
ETERNAL = (None, True, False, 0, 1, "", b"", (), Error, HandleClosed, Guestfs, memoryview)

Call = Callable[[], object]


#: The members of struct mallinfo2.
NUMBERS = (
    "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
)  # fmt: skip


class Mallinfo(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_size_t) for name in NUMBERS)


mallinfo2 = ctypes.CDLL(None).mallinfo2
mallinfo2.restype = Mallinfo


def counters() -> dict[str, tuple[int, ...]]:
    gc.collect()
    info = mallinfo2()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return {
        "C bytes": (info.uordblks + info.hblkhd,),
        "Python blocks": (sys.getallocatedblocks(),),
        "resident bytes": (pages * mmap.PAGESIZE,),
        "references": tuple(sys.getrefcount(thing) for thing in ETERNAL),
    }


def growth(call: Call, calls: int) -> dict[str, int]:
    """Make the calls; return by how much each counter has grown, for references also a negative number."""
    repeat = range(calls)
    before = counters()
    for _ in repeat:
        call()
    after = counters()
    return {
        name: max((b - a for a, b in zip(before[name], after[name], strict=True)), key=abs) for name in before
    }


def leaks(call: Call, calls: int = CALLS, each: int = 1) -> dict[str, list[int]]:
    """Return the counters that grow in every round by at least half of the smallest leak, and their growth.

    A leak shows in every round, unlike a cache that fills up or another test's thread that ends.

    each: how many calls of libguestfs the call makes
    """
    count = calls * each
    limits = {"C bytes": 8 * count, "Python blocks": count // 2, "references": count // 2}
    limits["resident bytes"] = max(8 * count, 64 * 1024)
    growth(call, calls)  # fills caches
    if not COUNTED:
        return {}
    suspects: dict[str, list[int]] = {name: [] for name in limits}
    for _ in range(6):
        grown = growth(call, calls)
        # A falling reference count is as bad: the object is freed while it is in use.
        sizes = grown | {"references": abs(grown["references"])}
        suspects = {
            name: [*values, grown[name]] for name, values in suspects.items() if sizes[name] >= limits[name]
        }
        if not suspects:
            break
    return suspects
