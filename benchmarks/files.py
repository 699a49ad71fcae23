#!/usr/bin/env python3
"""What a guest's files cost through fsspec and `guestkit mount`, compared with libguestfs' guestmount.

    ./run bench files [ROUNDS]

Opens the guest and reads a first small file, lists a directory of 10,000 files with their sizes, reads 2,000
small files, and reads 200 MB in sequence. The ways alternate in each round; each launches its own appliance
for the first file, so that no cache of the guest's kernel helps. The number behind the seconds is the ratio
to the plain handle, used at its best. guestmount, and guestfish's tar-out, of which virt-tar-out is a wrapper
for disks with a system, run libguestfs' own appliance; they are left out where they are not installed, and
mounts where the host has no FUSE. tar-out launches for what it does, which counts.
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

from guestkit import Guestfs, open_guest
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


FIRST = "/small/0000"


@contextmanager
def plain(disk: Path) -> Iterator[Work]:
    """The handle, by guestkit's own functions for many files."""
    with ExitStack() as stack:
        handles: list[Guestfs] = []

        def first() -> None:
            handles.append(stack.enter_context(open_guest(disk)))
            handles[0].read_small(FIRST)
            launch = handles[0].launch_info()
            if launch is not None and launch.accelerator == "tcg":  # guestmount does not find out by itself
                os.environ["LIBGUESTFS_BACKEND_SETTINGS"] = "force_tcg"

        yield {
            "first": first,
            "list": lambda: handles[0].walk("/many", max_depth=0),
            "small": lambda: handles[0].read_files(names()),
            "large": lambda: [None for _ in read_chunks(handles[0], "/large")],
        }


@contextmanager
def through_fsspec(disk: Path) -> Iterator[Work]:
    def read(fs: GuestFileSystem) -> None:
        with fs.open("/large") as file:
            while file.read(CHUNK):
                pass

    with GuestFileSystem(disk) as fs:
        yield {
            "first": lambda: fs.cat_file(FIRST),
            "list": lambda: fs.ls("/many"),
            "small": lambda: fs.cat(names()),
            "large": lambda: read(fs),
        }


def directory_of(root: Path, mount: Callable[[], object]) -> Work:
    """What programs do with a directory, mounted for the first file."""

    def first() -> None:
        mount()
        (root / FIRST[1:]).read_bytes()

    def read() -> None:
        with (root / "large").open("rb", buffering=0) as file:
            while file.read(CHUNK):
                pass

    return {
        "first": first,
        "list": lambda: [entry.stat().st_size for entry in os.scandir(root / "many")],
        "small": lambda: [(root / name[1:]).read_bytes() for name in names()],
        "large": read,
    }


@contextmanager
def guestkit_mount(disk: Path) -> Iterator[Work]:
    command = [sys.executable, "-m", "guestkit"]
    with tempfile.TemporaryDirectory() as root:
        mount = [*command, "mount", "--quiet", str(disk), root]
        try:
            yield directory_of(Path(root), lambda: subprocess.run(mount, check=True))
        finally:
            subprocess.run([*command, "unmount", root], check=True)


@contextmanager
def guestmount(disk: Path) -> Iterator[Work]:
    with tempfile.TemporaryDirectory() as folder:
        pid = Path(folder, "pid")
        root = Path(folder, "root")
        root.mkdir()
        command = ["guestmount", "--ro", "--format=raw", "-a", str(disk), "-m", "/dev/sda1", "--pid-file"]
        try:
            yield directory_of(root, lambda: subprocess.run([*command, str(pid), str(root)], check=True))
        finally:
            ended = os.pidfd_open(int(pid.read_text()))
            subprocess.run(["guestunmount", root], check=True)
            select.select([ended], [], [])
            os.close(ended)


@contextmanager
def tar_out(disk: Path) -> Iterator[Work]:
    command = [
        "guestfish",
        "--ro",
        "--format=raw",
        "-a",
        str(disk),
        "-m",
        "/dev/sda1",
        "tar-out",
        "/small",
        "-",
    ]
    yield {"small": lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)}


WORK = {
    "first": "open it and read a first small file",
    "list": f"list {FILES:,} files with their sizes",
    "small": f"read {SMALL:,} small files",
    "large": f"read {LARGE >> 20} MB in sequence",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rounds", metavar="ROUNDS", type=int, nargs="?", default=3)
    rounds = parser.parse_args().rounds
    ways = {"plain handle": plain, "fsspec": through_fsspec}
    if Path("/dev/fuse").exists():
        ways["guestkit mount"] = guestkit_mount
        if shutil.which("guestmount"):
            ways["guestmount"] = guestmount
    if shutil.which("guestfish"):
        ways["tar-out"] = tar_out
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
            mine = times.get((work, way), [])
            if not mine:
                cells.append(f"{'-':>20}")
                continue
            ratio = statistics.median(a / b for a, b in zip(mine, best, strict=True))
            cells.append(f"{statistics.median(mine):>12.2f} s {ratio:>5.1f}")
        print(f"{text:<38}" + "".join(cells))
    return 0


if __name__ == "__main__":
    sys.exit(main())
