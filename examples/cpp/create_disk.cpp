// Makes a disk with a partition, LVM and a filesystem on it: create_disk DISK
#include <guestkit/guestkit.hpp>
#include <iostream>

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::cerr << "usage: create_disk DISK\n";
    return 2;
  }
  guestkit::Guestfs g;
  g.disk_create(argv[1], "qcow2", 256 << 20);
  g.add_drive(argv[1], {.format = "qcow2"});
  g.launch();
  g.part_disk("/dev/sda", "gpt");
  g.pvcreate("/dev/sda1");
  g.vgcreate("guests", {"/dev/sda1"});
  g.lvcreate_free("data", "guests", 100);
  g.mkfs("ext4", "/dev/guests/data", {.label = "data"});
  g.mount("/dev/guests/data", "/");
  g.mkdir_p("/etc");
  g.write("/etc/motd", "made by guestkit\n");
  for (const auto& [device, type] : g.list_filesystems()) std::cout << device << ": " << type << '\n';
  g.shutdown();  // reports whether the last writes failed, which close() does not
} catch (const guestkit::Error& e) {
  std::cerr << guestkit::printable(e.what()) << '\n';
  return 1;
}
