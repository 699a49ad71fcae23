"""Programs that use guestkit in each way, to be killed: `python -m tests.soak.work HOW DISK FOLDER SANDBOX`.

Each ends with status 0 whether guestkit's calls succeed or raise its errors; it prints which.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import cast

from guestkit import AsyncGuestfs, DiskConverter, Error, Guestfs, HandleOptions, inspect_many
from guestkit.guest import mount_guest
from guestkit.handle_options import Sandbox

SANDBOX = cast("Sandbox", sys.argv[4])

#: A stopped QEMU is waited for that long, in seconds.
LIMITS = HandleOptions(launch_timeout=60, call_timeout=30, close_timeout=30, sandbox=SANDBOX)


def _blocking(disk: Path, folder: Path) -> None:
    with Guestfs(LIMITS) as g:
        _use(g, disk, folder)


def _cold(disk: Path, folder: Path) -> None:
    """Have supermin build libguestfs' own appliance first."""
    with Guestfs(LIMITS, appliance="system") as g:
        g.set_cachedir(folder)
        _use(g, disk, folder)


def _use(g: Guestfs, disk: Path, folder: Path) -> None:
    g.open_disk(disk)
    g.add_drive_scratch(1 << 20)
    print("launch", flush=True)
    g.launch()
    print("inspect", flush=True)
    g.inspect()
    print("mount", flush=True)
    mount_guest(g)
    g.download("/etc/fstab", folder / "fstab")
    print("transfer", flush=True)
    g.umount_all()
    g.download("/dev/sda", folder / "copy")
    g.checksum_device("md5", "/dev/sda")
    print("close", flush=True)


async def _awaited(disk: Path, folder: Path) -> None:
    async def one(number: int) -> None:
        async with AsyncGuestfs(LIMITS) as g:
            await g.open_disk(disk)
            await g.launch()
            await g.inspect()
            await g.download("/dev/sda", folder / f"copy-{number}")

    told = await asyncio.gather(one(1), one(2), return_exceptions=True)
    for error in told:
        if isinstance(error, BaseException) and not isinstance(error, Error):
            raise error
        print("async", type(error).__name__, flush=True)


def _pool(disk: Path, folder: Path) -> None:
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        for report in inspect_many([disk] * 3, jobs_executor=pool, timeout=60.0, sandbox=SANDBOX):
            print("pool", report.error.kind if report.error else "inspected", flush=True)


def _convert(disk: Path, folder: Path) -> None:
    for name in ("one.qcow2", "two.vmdk", "three.vdi"):
        result = DiskConverter().convert(disk, folder / name, source_format="raw")
        print("convert", result["error"], flush=True)
    with Guestfs(LIMITS) as g:
        for _ in range(20):
            g.add_drive_ro(disk)


def _served(disk: Path, folder: Path) -> None:
    """Read the disk through nbdkit, whose socket is in the folder."""
    with Guestfs(LIMITS) as g:
        g.open_disk(f"nbd+unix:///?socket={folder}/nbd", format="raw", protocols=("nbd",))
        g.launch()
        g.inspect()
        g.checksum_device("md5", "/dev/sda")


WAYS: dict[str, Callable[[Path, Path], None]] = {
    "blocking": _blocking,
    "async": lambda disk, folder: asyncio.run(_awaited(disk, folder)),
    "pool": _pool,
    "convert": _convert,
    "served": _served,
    "cold": _cold,
}


def main() -> None:
    """Run the program."""
    how, disk, folder, _ = sys.argv[1:]
    try:
        WAYS[how](Path(disk), Path(folder))
    except Error as error:
        print(type(error).__name__, error.cause, flush=True)
    else:
        print("done", flush=True)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main()
