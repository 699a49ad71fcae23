#pragma once

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <mutex>
#include <string_view>
#include <system_error>
#include <thread>

#include "guestkit/detail/base/device_number.hpp"
#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/base/fork.hpp"
#include "guestkit/detail/base/host_files.hpp"
#include "guestkit/detail/base/text.hpp"
#include "guestkit/detail/base/unique_fd.hpp"
#include "guestkit/detail/image/in_use.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE bool is_held(int fd, qemu_lock byte) noexcept {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(byte);
  lock.l_len = 1;
  return ::fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

inline bool is_read_only_device(int fd) noexcept {
  constexpr unsigned long blkroget = _IO(0x12, 94);  // BLKROGET, whose header has macros of common names
  int readonly = 0;
  return ::ioctl(fd, blkroget, &readonly) == 0 && readonly != 0;
}

/// Claims the device for a moment, which the kernel refuses if it, or a part of it, has been claimed.
inline bool is_claimed_now(const std::string& path) {
  static constinit of_process<std::mutex> one_at_a_time;  // or threads would see each other's claims
  const std::lock_guard lock(one_at_a_time.get());
  const unique_fd claimed(::open(path.c_str(), O_RDONLY | O_EXCL | O_NONBLOCK | O_CLOEXEC));
  return claimed.get() < 0 && errno == EBUSY;
}

GUESTKIT_INLINE bool is_claimed_by_host(int fd) {
  struct stat status {};
  if (::fstat(fd, &status) != 0 || !S_ISBLK(status.st_mode) || is_read_only_device(fd)) return false;
  const auto path = "/proc/self/fd/" + std::to_string(fd);
  constexpr int looks = 5;  // another process that only looks, as this one does, has gone by then
  for (int i = 0; is_claimed_now(path); ++i) {
    if (i + 1 == looks) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return false;
}

GUESTKIT_INLINE std::string user_of(const struct stat& file) {
  namespace fs = std::filesystem;
  std::array<char, 64> key{};  // a lock's form in fdinfo: DEVICE:INODE FROM TO
  std::snprintf(key.data(), key.size(), " %02x:%02x:%llu ", major_number(file.st_dev),
                minor_number(file.st_dev), static_cast<unsigned long long>(file.st_ino));
  int descriptors_left = 20'000;  // takes about 0.1 s
  std::error_code error, denied;
  for (fs::directory_iterator process("/proc", error), end; !error && process != end;
       process.increment(error)) {
    const auto number = process->path().filename().string();
    if (number.find_first_not_of("0123456789") != std::string::npos) continue;
    for (fs::directory_iterator each(process->path() / "fdinfo", denied); !denied && each != end;
         each.increment(denied)) {
      if (descriptors_left-- == 0) return "another program";
      const auto text = read_text(each->path());
      for (std::string_view lines = text; !lines.empty();) {
        const auto line = take_until(lines, '\n');
        if (!line.starts_with("lock:") || line.find("OFDLCK") == std::string::npos ||
            line.find(key.data()) == std::string::npos)
          continue;
        const auto name = read_text(process->path() / "comm");
        return shown(name.substr(0, name.find('\n'))) + " (process " + number + ")";
      }
    }
  }
  return "another program";
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
