"""Say what is on many disks, several at a time, as the answers come: inspect_many.py FORMAT DISK…"""

from __future__ import annotations

import asyncio
import sys

from guestkit import AsyncGuestfs, Error
from guestkit.cli.text import printable


async def products(disk: str, image_format: str) -> str:
    async with AsyncGuestfs() as g:
        await g.add_drive(disk, readonly=True, format=image_format)
        await g.launch()
        names = [printable(await g.inspect_get_product_name(root)) for root in await g.inspect_os()]
    return ", ".join(names) or "no operating system"


async def main(image_format: str, *disks: str) -> None:
    few = asyncio.Semaphore(2)  # appliances at a time: each takes hundreds of MB

    async def outcome(disk: str) -> tuple[str, str]:
        async with few:
            try:
                return disk, await products(disk, image_format)
            except Error as error:
                return disk, f"failed: {printable(str(error))}"

    for done, answer in enumerate(asyncio.as_completed(map(outcome, disks)), 1):
        disk, text = await answer
        print(f"{done} of {len(disks)}: {printable(disk)}: {text}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: inspect_many.py FORMAT DISK…")
    asyncio.run(main(*sys.argv[1:]))
