"""Report which operating systems are on a disk and what is installed: inspect_vm.py DISK FORMAT"""

from __future__ import annotations

import sys

from guestkit import Error, Guestfs, printable  # a guest's text is hostile: escape it before printing
from guestkit.guest import mount_guest


def main(disk: str, image_format: str) -> None:
    with Guestfs() as g:
        # State the format: a guest can write a header into a raw disk that makes it look like another format.
        g.add_drive(disk, readonly=True, format=image_format)
        g.launch()
        for root in g.inspect_os():
            product, arch = g.inspect_get_product_name(root), g.inspect_get_arch(root)
            host = g.inspect_get_hostname(root)
            print(f"{printable(root)}: {printable(product)}, {printable(arch)}, host {printable(host)}")
            # Never mount by hand at the mountpoints in a guest's fstab: they may lead out of the guest.
            for mountpoint, device in mount_guest(g, root=root).mountpoints.items():
                print(f"  {printable(mountpoint)} on {printable(device)}")
            for app in g.inspect_list_applications2(root):
                print(f"  {printable(app['app2_name'])} {printable(app['app2_version'])}")
            g.umount_all()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: inspect_vm.py DISK FORMAT")
    try:
        main(*sys.argv[1:])
    except Error as error:
        sys.exit(printable(str(error)))
