"""Report what is on disks: the ways to inspect many at once with AsyncGuestfs.

python async_inspection.py one DISK
python async_inspection.py many DISK…              all at once, results in the order of the disks
python async_inspection.py progress DISK…          all at once, each result as it arrives
python async_inspection.py extract DISK FOLDER PATH…   copy files out of the guest into a folder
python async_inspection.py compare DISK…           the times of one after the other and all at once
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from guestkit import AsyncGuestfs, Error, aio


async def inspect_vm(disk: str) -> list[str]:
    """Return what each operating system on the disk calls itself."""
    async with AsyncGuestfs() as g:
        await g.open_disk(disk)
        await g.launch()
        return [await g.inspect_get_product_name(root) for root in await g.inspect_os()]


async def inspect_many(disks: list[str]) -> dict[str, list[str] | BaseException]:
    """Inspect all disks at once: each has its own appliance, so mind the memory (docs/fleet.md)."""
    results = await asyncio.gather(*map(inspect_vm, disks), return_exceptions=True)
    return dict(zip(disks, results, strict=True))


async def inspect_with_progress(disks: list[str]) -> None:
    """Print each result as it arrives."""

    async def inspect(disk: str) -> tuple[str, list[str] | Error]:
        try:
            return disk, await inspect_vm(disk)
        except Error as error:
            return disk, error

    for done, result in enumerate(asyncio.as_completed(map(inspect, disks)), 1):
        disk, systems = await result
        print(f"[{done}/{len(disks)}] {disk}: {told(systems)}", flush=True)


async def extract_files(disk: str, folder: Path, paths: list[str]) -> None:
    """Copy files out of the operating system on the disk, each under the last part of its name."""
    async with aio.open_guest(disk) as g:
        for path in paths:
            target = folder / Path(path).name
            await g.download(path, target)
            print(f"{path!r} -> {str(target)!r}")


async def compare(disks: list[str]) -> None:
    """Print how long the disks take one after the other, and all at once."""
    begin = time.monotonic()
    for disk in disks:
        await inspect_vm(disk)
    in_turn = time.monotonic() - begin
    await asyncio.gather(*map(inspect_vm, disks))
    at_once = time.monotonic() - begin - in_turn
    print(f"in turn {in_turn:.1f} s, at once {at_once:.1f} s: {in_turn / at_once:.1f} times as fast")


def told(systems: list[str] | BaseException) -> str:
    """Return a line for a terminal. A guest's text is hostile, so repr() it."""
    if isinstance(systems, BaseException):
        return repr(str(systems))
    return ", ".join(map(repr, systems)) or "no operating system"


async def main(what: str, *arguments: str) -> None:
    match what, arguments:
        case "one", (disk,):
            print(told(await inspect_vm(disk)))
        case "many", (_, *_):
            for disk, systems in (await inspect_many(list(arguments))).items():
                print(f"{disk}: {told(systems)}")
        case "progress", (_, *_):
            await inspect_with_progress(list(arguments))
        case "extract", (disk, folder, *paths):
            await extract_files(disk, Path(folder), paths)
        case "compare", (_, *_):
            await compare(list(arguments))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    asyncio.run(main(*(sys.argv[1:] or [""])))
