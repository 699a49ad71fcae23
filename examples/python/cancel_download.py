"""Begin to download a big file, cancel it, and continue with the same handle: cancel_download.py TARGET"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from guestkit import AsyncGuestfs, Error, printable


async def main(target: Path) -> None:
    async with AsyncGuestfs() as g:
        await g.add_drive_scratch(64 << 20)
        await g.launch()
        await g.mkfs("ext4", "/dev/sda")
        await g.mount("/dev/sda", "/")
        await g.touch("/big")
        await g.truncate_size("/big", 8 << 30)

        download = asyncio.create_task(g.download("/big", target))
        while not (target.exists() and target.stat().st_size):
            await asyncio.sleep(0.01)
        download.cancel()
        try:
            await download
        except asyncio.CancelledError:
            print("the download was cancelled")
        print(f"the file has {await g.filesize('/big')} bytes")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: cancel_download.py TARGET")
    try:
        asyncio.run(main(Path(sys.argv[1])))
    except Error as error:
        sys.exit(printable(str(error)))
