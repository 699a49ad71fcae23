"""What a call leaves behind, counted.

Two counters are exact: the bytes that C's malloc has given out, where libguestfs' results and the C++ values
live, and the blocks that Python's allocator has. The process' size is the witness for what neither sees, and
reference counts are for objects that are there for ever, whose leak takes no memory.
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

#: Under valgrind or a sanitizer a few calls of each kind do. Nothing is counted there: such a tool finds the
#: single leak, is slow, and has an allocator that keeps what is freed.
COUNTED = "GUESTKIT_MEMORY_CALLS" not in os.environ
CALLS = int(os.environ.get("GUESTKIT_MEMORY_CALLS", "10000"))

#: What lives for ever and is handed out by conversions.
ETERNAL = (None, True, False, 0, 1, "", b"", (), Error, HandleClosed, Guestfs, memoryview)

Call = Callable[[], object]


#: Of struct mallinfo2.
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
    """Return by how much each counter has grown when the calls were made; references also how they fell."""
    repeat = range(calls)
    before = counters()
    for _ in repeat:
        call()
    after = counters()
    return {
        name: max((b - a for a, b in zip(before[name], after[name], strict=True)), key=abs) for name in before
    }


def leaks(call: Call, calls: int = CALLS, each: int = 1) -> dict[str, list[int]]:
    """Return the counters that grow by half of the least that a leak could take, or more, and how they grew.

    A leak shows in every round. What fills up meanwhile, such as malloc's caches, and another test's thread
    that ends do not.

    each: how many calls of libguestfs the call makes
    """
    count = calls * each
    limits = {"C bytes": 8 * count, "Python blocks": count // 2, "references": count // 2}
    limits["resident bytes"] = max(8 * count, 64 * 1024)
    growth(call, calls)  # caches fill
    if not COUNTED:
        return {}
    suspects: dict[str, list[int]] = {name: [] for name in limits}
    for _ in range(6):
        grown = growth(call, calls)
        # An object that is given back too often is freed under somebody's hands.
        sizes = grown | {"references": abs(grown["references"])}
        suspects = {
            name: [*values, grown[name]] for name, values in suspects.items() if sizes[name] >= limits[name]
        }
        if not suspects:
            break
    return suspects
