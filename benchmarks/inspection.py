"""Inspect each kind of disk by guestkit, virt-inspector and dissect.target: seconds of the whole command.

`./run bench inspection [ROUNDS]`: the kinds of tests/images/kinds.py; then a fleet of them, beside a loop
over python3-guestfs. dissect.target is installed from PyPI below build/. In the short form guestkit inspects
all kinds, the peers only some, and there is no fleet.

`./run bench inspection --profile DISK…`: the calls of one inspection of one guest, with their times.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import guestkit
from benchmarks import fleet
from benchmarks.common import peers, processes, program
from benchmarks.common.record import Record
from tests.images import kinds
from tests.images.corpus import PASSPHRASE, images

#: The kinds that peers inspect in the short form.
FEW = ("Debian, GPT, ext4", "Debian, MBR, LVM, xfs and ext4", "Windows, ntfs")

#: What a user of dissect.target writes for the facts of the default parts.
DISSECT = """
import sys
from dissect.target.target import Target

target = Target.open(sys.argv[1])
found = [target.os, target.hostname, target.version, target.architecture]
found += [(volume.name, volume.size, volume.fs and volume.fs.__type__) for volume in target.volumes]
if target.has_function("dpkg.status"):
    found += list(target.dpkg.status())
"""


def commands(record: Record, key: Path) -> dict[tuple[str, str], list[str]]:
    """Return the command by which each program inspects each kind; the key opens what is encrypted."""
    has_inspector, dissect = peers.program(record, "virt-inspector"), peers.dissect_target(record)
    found: dict[tuple[str, str], list[str]] = {}
    for name, disks in kinds.disks().items():
        kind = kinds.KINDS[name]
        keys = ["--key", f"/dev/sda2:file:{key}"] if kind.key else []
        options = ["--json", "--quiet", "--one-guest", *keys]
        found[name, "guestkit"] = [sys.executable, "-m", "guestkit", "inspect", *options, *map(str, disks)]
        if record.short and name not in FEW:
            continue
        if has_inspector:
            words = [word for disk in disks for word in ("-a", str(disk))]
            found[name, "virt-inspector"] = ["virt-inspector", "--format=raw", *keys, *words]
        if dissect and len(disks) == 1 and not kind.key:
            found[name, "dissect.target"] = [dissect, "-c", DISSECT, str(disks[0])]
    return found


def measure(record: Record) -> None:
    with tempfile.NamedTemporaryFile("w") as key:
        key.write(PASSPHRASE)
        key.flush()
        ways = commands(record, Path(key.name))
        for name, who in record.turns(ways):
            ran = processes.run(ways[name, who], peers.environment())
            if who == "guestkit":
                record.add(name, who, ran.seconds, note=way(ran))
            else:  # peers have no answer for some kinds
                record.add(name, who, ran.seconds, note="fails" if ran.failed else "")
    if not record.short:
        measure_together(record)


def way(ran: processes.Ran) -> str:
    """Return how the answer came about, if not by guestkit's own rules."""
    if ran.failed:
        raise RuntimeError(f"guestkit fails: {ran.output.decode()}")
    (report,) = json.loads(ran.output)
    provenance = report["inspection"]["provenance"]
    return "" if provenance["way"] == "fast" else f"{provenance['way']}: {provenance['reason']}"


def measure_together(record: Record) -> None:
    """Measure all kinds as a fleet, but for those that need a key."""
    guests = [disks for name, disks in kinds.disks().items() if not kinds.KINDS[name].key]
    what = f"all of these without a key: {len(guests)} guests"

    with record.timed(what, "guestkit"):
        for found in guestkit.inspect_many(guests):
            assert found.inspection is not None, found.error
    if peers.system_python(record):
        joined = [",".join(map(str, disks)) for disks in guests]
        ran = processes.run([*fleet.loop(1), *joined], peers.environment())
        record.add(what, "python3-guestfs", ran.seconds, note="fails" if ran.failed else "")


class Calls(logging.Handler):
    """The calls that libguestfs' trace tells of, with their times."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[tuple[str, float, float]] = []  # what, when, seconds
        self._begun: list[tuple[str, float]] = []

    def emit(self, record: logging.LogRecord) -> None:
        prefix, _, text = record.getMessage().partition(": trace: ")
        if prefix != "libguestfs":
            return
        if self._begun and text.startswith(self._begun[-1][0].split(" ")[0] + " = "):
            call, begun = self._begun.pop()
            if not self._begun:  # no call that another one makes
                self.made.append((call, begun, record.created - begun))
        else:
            self._begun.append((text, record.created))


def profile(disks: Sequence[str]) -> None:
    logger, calls = logging.getLogger("guestkit"), Calls()
    logger.addHandler(calls)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    begun = time.time()
    report = guestkit.inspect(list(disks))
    ended = time.time()
    totals: dict[str, list[float]] = defaultdict(list)
    for call, when, seconds in calls.made:
        totals[call.split(" ")[0]].append(seconds)
        if seconds >= 0.01:
            print(f"{when - begun:7.3f} {seconds:7.3f} s  {call[:100]}")
    print("\ntogether")
    for name, times in sorted(totals.items(), key=lambda item: -sum(item[1])):
        if sum(times) >= 0.001:
            print(f"{sum(times):7.3f} s {len(times):4}  {name}")
    in_calls = sum(seconds for _, _, seconds in calls.made)
    print(f"\n{ended - begun:.3f} s, of which {in_calls:.3f} s in these calls, beside Python's own start")
    print(f"way: {report.provenance.way} {report.provenance.reason}")


def main() -> None:
    parser = program.benchmark("inspection", __doc__, 2)
    parser.add_argument("--profile", nargs="*", metavar="DISK")
    given = parser.parse_args()
    if given.profile is not None:
        profile(given.profile or [str(images(["real debian"])["real debian"])])
    else:
        program.run("inspection", given, measure)


if __name__ == "__main__":
    main()
