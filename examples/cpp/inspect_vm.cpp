// Reports which operating systems are on a disk and what is installed: inspect_vm DISK FORMAT
#include <guestkit/guest.hpp>
#include <guestkit/guestkit.hpp>
#include <iostream>

using guestkit::printable;  // a guest's text is hostile: escape it before printing

int main(int argc, char** argv) try {
  if (argc != 3) {
    std::cerr << "usage: inspect_vm DISK FORMAT\n";
    return 2;
  }
  guestkit::Guestfs g;
  // State the format: a guest can write a header into a raw disk that makes it look like another format.
  g.add_drive(argv[1], {.readonly = true, .format = argv[2]});
  g.launch();
  for (const auto& root : g.inspect_os()) {
    std::cout << printable(root) << ": " << printable(g.inspect_get_product_name(root)) << ", "
              << printable(g.inspect_get_arch(root)) << ", host " << printable(g.inspect_get_hostname(root))
              << '\n';
    // Never mount by hand at the mountpoints in a guest's fstab: they may lead out of the guest.
    for (const auto& [mountpoint, device] : guestkit::mount_guest(g, {.root = root}).mountpoints)
      std::cout << "  " << printable(mountpoint) << " on " << printable(device) << '\n';
    for (const auto& app : g.inspect_list_applications2(root))
      std::cout << "  " << printable(app.app2_name) << ' ' << printable(app.app2_version) << '\n';
    g.umount_all();
  }
} catch (const guestkit::Error& e) {
  std::cerr << printable(e.what()) << '\n';
  return 1;
}
