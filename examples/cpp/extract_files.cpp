// Copies files out of a guest: extract_files DISK FORMAT FOLDER PATH…
#include <filesystem>
#include <guestkit/guest.hpp>
#include <guestkit/guestkit.hpp>
#include <iostream>

using guestkit::printable;

int main(int argc, char** argv) try {
  if (argc < 5) {
    std::cerr << "usage: extract_files DISK FORMAT FOLDER PATH…\n";
    return 2;
  }
  const std::filesystem::path folder = argv[3];
  guestkit::Guestfs g;
  g.add_drive(argv[1], {.readonly = true, .format = argv[2]});
  g.launch();
  guestkit::mount_guest(g);
  for (int i = 4; i < argc; ++i) {
    const std::filesystem::path path = argv[i];
    // The guest's links are followed inside the guest. On the host only the last part of the name is used.
    if (!g.is_file(path, {.followsymlinks = true})) {
      std::cerr << printable(path.native()) << " is no file\n";
      return 1;
    }
    g.download(path, folder / path.filename());
    std::cout << printable(path.native()) << ": " << std::filesystem::file_size(folder / path.filename())
              << " bytes\n";
  }
} catch (const guestkit::Error& e) {
  std::cerr << printable(e.what()) << '\n';
  return 1;
}
