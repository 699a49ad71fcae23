#!/usr/bin/env python3
"""What a call of each kind of argument and result costs, compared with libguestfs' own Python module.

    ./run bench calls

Times both modules in one process, alternating in each round; a ratio below 1 means that guestkit is faster.
No call needs an appliance. Exits 1 if a kind of argument or result is slower than upstream. Errors are shown
but do not count: they are slower, but a C++ exception and an object with three attributes cost only 3 µs,
while a message to the appliance costs 500 µs.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
import timeit
from collections.abc import Callable
from typing import Any

import guestkit

sys.path.append("/usr/lib/python3/dist-packages")
import guestfs  # type: ignore[import-not-found]

ROUNDS = 15
SECONDS = 0.01  # per timing
LIMIT = 1.02  # two runs of the same code may differ by this much

ERROR = "an error"
INTERNAL = ("str", None, ["a", "b"], True, 1, 1 << 40, "in", "out", b"bytes")


def kinds(g: Any) -> dict[str, Callable[[], object]]:
    """Return one call of each kind, on a handle of either module."""
    strings = [f"string number {n}" for n in range(100)]
    view = {"memoryview": True} if isinstance(g, guestkit.Guestfs) else {}  # upstream returns only bytes
    return {
        "int out": g.get_memsize,
        "bool out": lambda: g.internal_test_rbool("true"),
        "int64 out": lambda: g.internal_test_rint64("1"),
        "const string out": g.get_path,
        "string out": lambda: g.internal_test_rstring("text"),
        "text in": lambda: g.set_path("/a/path"),
        "list of 100 in": lambda: g.set_backend_settings(strings),
        "list of 100 out": lambda: g.internal_test_rstringlist("100"),
        "hashtable of 100 out": lambda: g.internal_test_rhashtable("100"),
        "struct out": lambda: g.internal_test_rstruct("1"),
        "100 structs out": lambda: g.internal_test_rstructlist("100"),
        "1 MB of bytes out": lambda big="x" * (1 << 20): g.internal_test_rbufferout(big),
        "1 MB as a memoryview": lambda big="x" * (1 << 20): g.internal_test_rbufferout(big, **view),
        "version": g.version,
        "every argument": lambda: g.internal_test(*INTERNAL, obool=True, oint=1, ostring="x"),
        ERROR: lambda: failing(g.internal_test_rinterr),
    }


def failing(call: Callable[[], object]) -> None:
    with contextlib.suppress(RuntimeError):
        call()


def seconds_a_call(call: Callable[[], object], number: int) -> float:
    return timeit.timeit(call, number=number) / number


def main() -> int:
    ours, theirs = guestkit.Guestfs(), guestfs.GuestFS(python_return_dict=True)
    with tempfile.NamedTemporaryFile() as sink:
        for g in (ours, theirs):
            g.internal_test_set_output(sink.name)
        slower = []
        print(f"{'kind':<22}{'guestkit':>12}{'upstream':>12}{'ratio':>8}   median of {ROUNDS} rounds")
        pairs = zip(kinds(ours).items(), kinds(theirs).values(), strict=True)
        for (kind, our_call), their_call in pairs:
            number = max(1, int(SECONDS / seconds_a_call(their_call, 3)))
            rounds = [
                (seconds_a_call(our_call, number), seconds_a_call(their_call, number)) for _ in range(ROUNDS)
            ]
            mine, other = (statistics.median(times) for times in zip(*rounds, strict=True))
            ratio = statistics.median(a / b for a, b in rounds)
            print(f"{kind:<22}{mine * 1e9:>9.0f} ns{other * 1e9:>9.0f} ns{ratio:>8.2f}")
            if ratio > LIMIT and kind != ERROR:
                slower.append(kind)
    for kind in slower:
        print(f"slower than upstream: {kind}", file=sys.stderr)
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
