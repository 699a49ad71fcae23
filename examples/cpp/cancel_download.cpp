// Begins to download a big file, cancels it, and continues with the same handle: cancel_download TARGET
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <guestkit/async.hpp>
#include <iostream>
#include <thread>

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::cerr << "usage: cancel_download TARGET\n";
    return 2;
  }
  const std::filesystem::path target = argv[1];
  guestkit::AsyncGuestfs g;
  // Each call is queued on the handle; the future of the last one throws whatever fails.
  g.add_drive_scratch(64 << 20);
  g.launch();
  g.mkfs("ext4", "/dev/sda");
  g.mount("/dev/sda", "/");
  g.touch("/big");
  g.truncate_size("/big", 8LL << 30).get();

  auto download = g.download("/big", target);
  std::error_code not_yet;
  while (std::filesystem::file_size(target, not_yet) == 0 || not_yet)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  g.cancel();
  try {
    download.get();
  } catch (const guestkit::Error& e) {
    if (e.error_number() != EINTR) throw;
    std::cout << "the download was cancelled\n";
  }
  std::cout << "the file has " << g.filesize("/big").get() << " bytes\n";
} catch (const guestkit::Error& e) {
  std::cerr << guestkit::printable(e.what()) << '\n';
  return 1;
}
