#!/usr/bin/env python3
"""What a guest's files cost through fsspec, compared with the plain handle and with guestmount.

    ./run bench files [ROUNDS]

Lists a directory of 10,000 files with their sizes, reads 2,000 small files, and reads 200 MB in sequence. The
ways alternate in each round; each launches its own appliance before, which is not timed, so that no cache of
the guest's kernel helps. The number behind the seconds is the ratio to the plain handle, used at its best.
guestmount, with libguestfs' own appliance, is left out where it is not installed, or the host has no FUSE.
"""

from __future__ import annotations

import argparse
import os
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from guestkit import open_guest
from guestkit.fs import GuestFileSystem
from guestkit.guest import read_chunks
from tests.images.corpus import Part, _make
from tests.images.trees import File

FILES, SMALL, LARGE = 10_000, 2_000, 200 << 20
CHUNK = 1 << 20

Work = Mapping[str, Callable[[], object]]


def make_disk(path: Path) -> None:
    tree: dict[str, File] = {f"many/{number:05}": b"" for number in range(FILES)}
    tree |= {f"small/{number:04}": os.urandom(1000 + number) for number in range(SMALL)}
    tree["large"] = os.urandom(LARGE)
    _make([Part(tree, size=320 << 20)], path)


def names() -> list[str]:
    return [f"/small/{number:04}" for number in range(SMALL)]


@contextmanager
def plain(disk: Path) -> Iterator[Work]:
    """The handle, by guestkit's own functions for many files."""
    with open_guest(disk) as g:
        launch = g.launch_info()
        if launch is not None and launch.accelerator == "tcg":  # guestmount does not find out by itself
            os.environ["LIBGUESTFS_BACKEND_SETTINGS"] = "force_tcg"
        yield {
            "list": lambda: g.walk("/many", max_depth=0),
            "small": lambda: g.read_files(names()),
            "large": lambda: [None for _ in read_chunks(g, "/large")],
        }


@contextmanager
def through_fsspec(disk: Path) -> Iterator[Work]:
    def read(fs: GuestFileSystem) -> None:
        with fs.open("/large") as file:
            while file.read(CHUNK):
                pass

    with GuestFileSystem(disk) as fs:
        fs.info("/")
        yield {
            "list": lambda: fs.ls("/many"),
            "small": lambda: fs.cat(names()),
            "large": lambda: read(fs),
        }


@contextmanager
def guestmount(disk: Path) -> Iterator[Work]:
    def read(path: Path) -> None:
        with path.open("rb", buffering=0) as file:
            while file.read(CHUNK):
                pass

    with tempfile.TemporaryDirectory() as folder:
        pid = Path(folder, "pid")
        root = Path(folder, "root")
        root.mkdir()
        command = ["guestmount", "--ro", "--format=raw", "-a", str(disk), "-m", "/dev/sda1", "--pid-file"]
        subprocess.run([*command, str(pid), str(root)], check=True)
        try:
            yield {
                "list": lambda: [entry.stat().st_size for entry in os.scandir(root / "many")],
                "small": lambda: [(root / name[1:]).read_bytes() for name in names()],
                "large": lambda: read(root / "large"),
            }
        finally:
            ended = os.pidfd_open(int(pid.read_text()))
            subprocess.run(["guestunmount", root], check=True)
            select.select([ended], [], [])
            os.close(ended)


WORK = {
    "list": f"list {FILES:,} files with their sizes",
    "small": f"read {SMALL:,} small files",
    "large": f"read {LARGE >> 20} MB in sequence",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rounds", metavar="ROUNDS", type=int, nargs="?", default=3)
    rounds = parser.parse_args().rounds
    ways = {"plain handle": plain, "fsspec": through_fsspec}
    if shutil.which("guestmount") and Path("/dev/fuse").exists():
        ways["guestmount"] = guestmount
    times: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        disk = Path(folder, "disk.img")
        make_disk(disk)
        for _ in range(rounds):
            with ExitStack() as stack:
                for way, opened in ways.items():
                    for work, function in stack.enter_context(opened(disk)).items():
                        begun = time.perf_counter()
                        function()
                        times.setdefault((work, way), []).append(time.perf_counter() - begun)
                        print(f"{way}: {WORK[work]}: {times[work, way][-1]:.2f} s", file=sys.stderr)
                    stack.close()
    print(f"{'median of ' + str(rounds) + ' rounds':<38}" + "".join(f"{way:>20}" for way in ways))
    for work, text in WORK.items():
        best = times[work, "plain handle"]
        cells = []
        for way in ways:
            mine = times[work, way]
            ratio = statistics.median(a / b for a, b in zip(mine, best, strict=True))
            cells.append(f"{statistics.median(mine):>12.2f} s {ratio:>5.1f}")
        print(f"{text:<38}" + "".join(cells))
    return 0


if __name__ == "__main__":
    sys.exit(main())
