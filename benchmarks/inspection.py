"""Inspect one disk and fleets by guestkit, virt-inspector and loops over python3-guestfs: seconds and CPU.

`./run bench inspection [DISK [ROUNDS [LARGEST]]]`: DISK is a raw image, by default the real Debian of
tests/images; LARGEST is the size of the largest fleet. Alternates the programs, and prints medians.

`./run bench inspection --kinds [ROUNDS]`: each kind of disk in tests/images/kinds.py by guestkit,
virt-inspector and dissect.target, which is installed from PyPI below build/: the best of the rounds; then a
fleet of them.

`./run bench inspection --profile DISK…`: the calls of one inspection of one guest, with their times.
"""

from __future__ import annotations

import argparse
import logging
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import guestkit
from tests.images import kinds
from tests.images.corpus import images

BUILD = Path(__file__).resolve().parents[1] / "build"
FLEETS = (1, 2, 4, 8, 16)

# What a user of python3-guestfs writes to get the same facts. It runs on the system's Python, which has it.
LOOP = """
import sys
from concurrent.futures import ThreadPoolExecutor
import guestfs

FACTS = (
    "type distro product_name product_variant major_version minor_version arch hostname package_format "
    "package_management osinfo mountpoints filesystems"
).split()

def inspect(disks):
    g = guestfs.GuestFS(python_return_dict=True)
    g.set_backend_setting("force_tcg", "1")
    for disk in disks.split(","):
        g.add_drive_opts(disk, readonly=1, format="raw")
    g.launch()
    found = [g.list_devices(), g.list_partitions(), g.list_filesystems()]
    for device in found[2]:
        found += [g.vfs_label(device), g.vfs_uuid(device)]
    for root in g.inspect_os():
        for fact in FACTS:
            found.append(getattr(g, "inspect_get_" + fact)(root))
        for mountpoint, device in sorted(g.inspect_get_mountpoints(root).items(), key=lambda m: len(m[0])):
            try:
                g.mount_ro(device, mountpoint)
            except RuntimeError:  # a mountpoint may be a link, or missing
                continue
            found.append(g.statvfs(mountpoint))
        try:
            found.append(g.inspect_list_applications2(root))
        except RuntimeError:  # it cannot read some databases of real guests
            pass
        g.umount_all()
    g.close()

with ThreadPoolExecutor(int(sys.argv[1])) as threads:
    list(threads.map(inspect, sys.argv[2:]))
"""

#: What a user of dissect.target writes for the facts of the default parts.
PEER = """
import sys
from dissect.target.target import Target

target = Target.open(sys.argv[1])
found = [target.os, target.hostname, target.version, target.architecture]
found += [(volume.name, volume.size, volume.fs and volume.fs.__type__) for volume in target.volumes]
if target.has_function("dpkg.status"):
    found += list(target.dpkg.status())
"""
PEER_PACKAGE = "dissect.target[full]==3.25.1"


def fleet(disk: str, count: int) -> None:
    for report in guestkit.inspect_many([disk] * count):
        assert report.inspection is not None, report.error


def virt_inspector(disk: str, count: int) -> None:
    for _ in range(count):
        run(["virt-inspector", "--format=raw", "-a", disk])


def loop(disk: str, count: int) -> None:
    run(["/usr/bin/python3", "-c", LOOP, "1", *[disk] * count])


def loop_with_threads(disk: str, count: int) -> None:
    run(["/usr/bin/python3", "-c", LOOP, "2", *[disk] * count])


def run(command: list[str]) -> None:
    environment = os.environ | {"LIBGUESTFS_BACKEND_SETTINGS": "force_tcg"}
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)


def measure(work: Callable[[str, int], None], disk: str, count: int) -> tuple[float, float]:
    """Return the wall-clock and the CPU seconds of the work, child processes included."""
    before, begun = cpu(), time.perf_counter()
    work(disk, count)
    return time.perf_counter() - begun, cpu() - before


def cpu() -> float:
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def compare(disk: str, rounds: int, largest: int) -> None:
    ways = {
        "guestkit": fleet,
        "virt-inspector": virt_inspector,
        "python3-guestfs": loop,
        "the same, 2 threads": loop_with_threads,
    }
    fleet(disk, 1)  # warms the kernel's caches for all of them
    for count in (count for count in FLEETS if count <= largest):
        runs: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, work in ways.items():
                # Those that inspect one disk after the other take the same time for each: two are enough.
                disks = count if work in (fleet, loop_with_threads) else min(count, 2)
                seconds, busy = measure(work, disk, disks)
                runs[name].append((seconds * count / disks, busy * count / disks))
        ours = statistics.median(seconds for seconds, _ in runs["guestkit"])
        for name, measured in runs.items():
            seconds, busy = (statistics.median(column) for column in zip(*measured, strict=True))
            times = f"{seconds:7.1f} s  CPU {busy:7.1f} s  {seconds / ours:5.1f} times guestkit"
            print(f"{count:2} disks  {name:20} {times}", flush=True)


def compare_kinds(rounds: int) -> None:
    python = peer()
    print(f"{'kind':38} {'guestkit':>9} {'virt-inspector':>16} {'dissect.target':>16}  way", flush=True)
    made = kinds.disks()
    for name, disks in made.items():
        kind = kinds.KINDS[name]
        with tempfile.NamedTemporaryFile("w", suffix=".key") as key:
            key.write(kind.key)
            key.flush()
            ways = {
                "guestkit": [
                    *(sys.executable, "-m", "guestkit", "inspect", "--json", "--quiet", "--one-guest"),
                    *(["--key", f"/dev/sda2:file:{key.name}"] if kind.key else []),
                    *map(str, disks),
                ],
                "virt-inspector": [
                    *("virt-inspector", "--format=raw"),
                    *(["--key", f"/dev/sda2:file:{key.name}"] if kind.key else []),
                    *(word for disk in disks for word in ("-a", str(disk))),
                ],
            }
            if len(disks) == 1 and not kind.key:
                ways["dissect.target"] = [str(python), "-c", PEER, str(disks[0])]
            best, failed = interleaved(ways, rounds)
            report = guestkit.inspect(disks, keys=[guestkit.Key(kind.key)] if kind.key else [])
        ours = best["guestkit"]
        print(
            f"{name:38} {ours:7.2f} s {best['virt-inspector']:7.1f} s {best['virt-inspector'] / ours:5.1f} x",
            f"{best['dissect.target']:7.2f} s {ours / best['dissect.target']:5.2f} x"
            if len(best) > 2
            else f"{'-':>17}",
            f" {report.provenance.way} {report.provenance.reason}".rstrip(),
            *(f"; {name} fails" for name in sorted(failed)),
            flush=True,
        )
    guests = [disks for name, disks in made.items() if not kinds.KINDS[name].key]
    begun = time.perf_counter()
    for found in guestkit.inspect_many(guests):
        assert found.inspection is not None, found.error
    ours = time.perf_counter() - begun
    begun = time.perf_counter()
    run(["/usr/bin/python3", "-c", LOOP, "1", *(",".join(map(str, disks)) for disks in guests)])
    theirs = time.perf_counter() - begun
    print(f"a fleet of {len(guests)}: {ours:.1f} s; the loop: {theirs:.1f} s, {theirs / ours:.1f} times that")


def interleaved(ways: Mapping[str, list[str]], rounds: int) -> tuple[dict[str, float], set[str]]:
    """Return each command's shortest time, and which of them fail: peers have no answer for some kinds."""
    best = dict.fromkeys(ways, float("inf"))
    failed: set[str] = set()
    for _ in range(rounds):
        for name, command in ways.items():
            begun = time.perf_counter()
            try:
                run(command)
            except subprocess.CalledProcessError:
                if name == "guestkit":
                    raise
                failed.add(name)
            best[name] = min(best[name], time.perf_counter() - begun)
    return best, failed


def peer() -> Path:
    """Return a Python that has dissect.target."""
    directory = BUILD / "dissect"
    if not (directory / "complete").exists():
        venv.create(directory, clear=True, with_pip=True)
        subprocess.run([directory / "bin/pip", "install", "--quiet", PEER_PACKAGE], check=True)
        (directory / "complete").touch()
    return directory / "bin/python"


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
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--kinds", action="store_true")
    arguments.add_argument("--profile", action="store_true")
    arguments.add_argument("words", nargs="*", metavar="DISK, ROUNDS or LARGEST")
    given = arguments.parse_args()
    if given.kinds:
        compare_kinds(int(given.words[0]) if given.words else 2)
    elif given.profile:
        profile(given.words or [str(images(["real debian"])["real debian"])])
    else:
        disk, rounds, largest = (*given.words, *[""] * 3)[:3]
        compare(disk or str(images(["real debian"])["real debian"]), int(rounds or 3), int(largest or 16))


main()
