"""Copy a folder into a guest and back out again: copy_tree.py DISK DEVICE FOLDER TARGET"""

from __future__ import annotations

import sys
from pathlib import Path

from guestkit import Error, Guestfs, printable


def main(disk: str, device: str, name: str, target: str) -> None:
    folder = Path(name).resolve()
    there = f"/{folder.name}"
    with Guestfs() as g:
        g.add_drive(disk, format="qcow2")
        g.launch()
        g.mount(device, "/")
        g.copy_in(folder, "/")
        for found in g.find(there):
            print(printable(found))
        # copy_out would have the host's tar unpack what the guest chose: this writes below the target only.
        for skipped in g.extract(there, target).skipped:
            print("skipped:", printable(f"{skipped.path}: {skipped.reason}"))
        g.shutdown()


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit("usage: copy_tree.py DISK DEVICE FOLDER TARGET")
    try:
        main(*sys.argv[1:])
    except Error as error:
        sys.exit(printable(str(error)))
