"""Make a disk with a partition, LVM and a filesystem on it: create_disk.py DISK"""

from __future__ import annotations

import sys

from guestkit import Error, Guestfs, printable


def main(disk: str) -> None:
    with Guestfs() as g:
        g.disk_create(disk, "qcow2", 256 << 20)
        g.add_drive(disk, format="qcow2")
        g.launch()
        g.part_disk("/dev/sda", "gpt")
        g.pvcreate("/dev/sda1")
        g.vgcreate("guests", ["/dev/sda1"])
        g.lvcreate_free("data", "guests", 100)
        g.mkfs("ext4", "/dev/guests/data", label="data")
        g.mount("/dev/guests/data", "/")
        g.mkdir_p("/etc")
        g.write("/etc/motd", b"made by guestkit\n")
        for device, kind in sorted(g.list_filesystems().items()):
            print(f"{device}: {kind}")
        g.shutdown()  # reports whether the last writes failed, which close() does not


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: create_disk.py DISK")
    try:
        main(sys.argv[1])
    except Error as error:
        sys.exit(printable(str(error)))
