// Copies a folder into a guest and back out again: copy_tree DISK DEVICE FOLDER TARGET
#include <filesystem>
#include <guestkit/files.hpp>
#include <guestkit/guestkit.hpp>
#include <iostream>

using guestkit::printable;

int main(int argc, char** argv) try {
  if (argc != 5) {
    std::cerr << "usage: copy_tree DISK DEVICE FOLDER TARGET\n";
    return 2;
  }
  const std::filesystem::path folder = std::filesystem::canonical(argv[3]);
  const std::filesystem::path there = "/" / folder.filename();
  guestkit::Guestfs g;
  g.add_drive(argv[1], {.format = "qcow2"});
  g.launch();
  g.mount(argv[2], "/");
  g.copy_in(folder, "/");
  for (const auto& name : g.find(there)) std::cout << printable(name) << '\n';
  // copy_out would have the host's tar unpack what the guest chose: this writes below the target only.
  for (const auto& skipped : guestkit::extract(g, there, argv[4]).skipped)
    std::cout << "skipped: " << printable(skipped.path + ": " + skipped.reason) << '\n';
  g.shutdown();
} catch (const guestkit::Error& e) {
  std::cerr << printable(e.what()) << '\n';
  return 1;
}
