"""What a call of each kind of argument and result costs, compared with libguestfs' own Python module.

    ./run bench calls [ROUNDS]

Times both modules in one process, alternating in each of ROUNDS rounds (at least 15). No call needs an
appliance. Then measures alone what each call of guestkit does and upstream's does not: it releases the GIL,
and takes a turn, since calls of other threads on the handle have to wait. Exits 1 if a kind of argument or
result costs more than upstream's and these two together, or an error more than twice upstream's.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import timeit
from collections.abc import Callable, Iterable
from typing import Any

import guestkit
from benchmarks.common import peers, program
from benchmarks.common.figures import Figure, ratio
from benchmarks.common.record import Record
from guestkit import _native

ROUNDS = 15
SECONDS = 0.01  # per timing
LIMIT = 1.02  # two runs of the same code may differ by this much
ERROR_LIMIT = 2.0

OURS, THEIRS = "guestkit", "python3-guestfs"
ERROR = "an error"
GIL, TURN = "the released GIL alone", "the turn alone"
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


def measure(record: Record) -> None:
    handles = {OURS: guestkit.Guestfs()}
    if guestfs := peers.module(record):
        handles[THEIRS] = guestfs.GuestFS(python_return_dict=True)
    with tempfile.NamedTemporaryFile() as sink:
        for g in handles.values():
            g.internal_test_set_output(sink.name)
        calls = {who: kinds(g) for who, g in handles.items()}
        for kind, call in calls[OURS].items():
            seconds_a_call(call, 3)  # the first ones take longer
            number = max(1, int(SECONDS / seconds_a_call(call, 10)))
            samples: dict[str, list[float]] = {who: [] for who in calls}
            for who in record.turns(calls, at_least=ROUNDS):
                samples[who].append(seconds_a_call(calls[who][kind], number))
            for who, times in samples.items():
                record.add(kind, who, *times)
    number = max(1, int(SECONDS / 5e-8))
    alone = {GIL: _native.gil_seconds, TURN: handles[OURS]._turn_seconds}
    for part in record.turns(alone, at_least=ROUNDS):
        record.add(part, OURS, alone[part](number))


def slower(figures: Iterable[Figure]) -> list[str]:
    """Return the kinds that cost more than they may."""
    found = {(figure.what, figure.who): figure for figure in figures}
    alone = found[GIL, OURS].median + found[TURN, OURS].median

    def limit(kind: str) -> float:
        return ERROR_LIMIT if kind == ERROR else LIMIT + alone / found[kind, THEIRS].median

    kinds = [kind for kind, who in found if who == THEIRS]
    return [kind for kind in kinds if ratio(found[kind, OURS], found[kind, THEIRS]) > limit(kind)]


def main() -> int:
    kinds = slower(program.run("calls", program.benchmark("calls", __doc__).parse_args(), measure))
    for kind in kinds:
        print(f"too slow: {kind}", file=sys.stderr)
    return 1 if kinds else 0


if __name__ == "__main__":
    sys.exit(main())
