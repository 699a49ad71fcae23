"""Copy files out of a guest: extract_files.py DISK FORMAT FOLDER PATH…"""

from __future__ import annotations

import sys
from pathlib import Path, PurePosixPath

from guestkit import Error, Guestfs, printable
from guestkit.guest import mount_guest


def main(disk: str, image_format: str, folder: str, *paths: str) -> None:
    with Guestfs() as g:
        g.add_drive(disk, readonly=True, format=image_format)
        g.launch()
        mount_guest(g)
        for path in paths:
            # Links are followed inside the guest. On the host only the last part of the name is used.
            if not g.is_file(path, followsymlinks=True):
                sys.exit(f"{printable(path)} is no file")
            target = Path(folder, PurePosixPath(path).name)
            g.download(path, target)
            print(f"{printable(path)}: {target.stat().st_size} bytes")


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit("usage: extract_files.py DISK FORMAT FOLDER PATH…")
    try:
        main(*sys.argv[1:])
    except Error as error:
        sys.exit(printable(str(error)))
