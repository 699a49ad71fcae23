// A private directory for what libguestfs writes down: overlays of the disks, sockets, logs.
//
// libguestfs' own directories are 0755 when root runs it, so every user could read what a guest holds, and a
// process that is killed leaves them behind.
#pragma once

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <utility>

#include "unique_fd.hpp"

namespace guestkit::detail {

/// A directory of this process, 0700, removed at the end of the last handle that uses it. A lock on the
/// directory tells other processes that this one lives: whoever can lock it may remove it.
class scratch {
 public:
  /// Makes one beneath that directory. Throws std::system_error.
  explicit scratch(const std::filesystem::path& base) {
    for (;;) {
      std::string name = (base / (prefix() + "XXXXXX")).string();
      if (::mkdtemp(name.data()) == nullptr)
        throw std::system_error(errno, std::generic_category(), base.string());
      lock_ = open_locked(name, LOCK_EX);
      path_ = name;
      if (lock_.get() >= 0) return;  // else a sweep was faster than the lock
    }
  }
  scratch(const scratch&) = delete;
  scratch& operator=(const scratch&) = delete;
  ~scratch() {
    if (owner_ != ::getpid()) return;  // a forked child: the directory is its parent's
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  const std::filesystem::path& path() const noexcept { return path_; }

  /// The process' directory beneath that one. The first call sweeps away what killed processes left there.
  static std::shared_ptr<scratch> beneath(const std::filesystem::path& base) {
    static std::mutex mutex;
    static std::map<std::pair<std::filesystem::path, pid_t>, std::weak_ptr<scratch>> known;
    const std::lock_guard lock(mutex);
    const auto [entry, first] = known.try_emplace({base, ::getpid()});
    if (first) sweep(base);
    auto directory = entry->second.lock();
    if (!directory) entry->second = directory = std::make_shared<scratch>(base);
    return directory;
  }

  /// Removes the directories of this user's processes that are no more. Never follows a link.
  static void sweep(const std::filesystem::path& base) noexcept {
    each(base, [](const std::filesystem::path& path) {
      if (!path.filename().string().starts_with(prefix())) return;
      if (open_locked(path, LOCK_EX | LOCK_NB).get() < 0) return;
      std::error_code ignored;
      std::filesystem::remove_all(path, ignored);
    });
    sweep_sockets("/tmp");
  }

  /// Root's sockets always go to /tmp/libguestfsXXXXXX. One of which the kernel knows no socket is left over.
  static void sweep_sockets(const std::filesystem::path& base) noexcept {
    if (::geteuid() != 0) return;
    each(base, [](const std::filesystem::path& path) {
      std::error_code ignored;
      if (!path.filename().string().starts_with("libguestfs")) return;
      if (!std::filesystem::is_socket(std::filesystem::symlink_status(path / "guestfsd.sock", ignored)))
        return;
      std::ifstream sockets("/proc/net/unix");
      for (std::string line; std::getline(sockets, line);)
        if (line.find(path.string() + "/") != std::string::npos) return;
      std::filesystem::remove_all(path, ignored);
    });
  }

 private:
  static std::string prefix() { return "guestkit-" + std::to_string(::geteuid()) + "-"; }

  /// Runs for every directory of this user beneath that one.
  template <class F>
  static void each(const std::filesystem::path& base, F&& visit) noexcept try {
    const auto quietly = std::filesystem::directory_options::skip_permission_denied;
    for (const auto& entry : std::filesystem::directory_iterator(base, quietly)) {
      struct stat s {};
      if (::lstat(entry.path().c_str(), &s) == 0 && S_ISDIR(s.st_mode) && s.st_uid == ::geteuid())
        visit(entry.path());
    }
  } catch (const std::exception&) {  // a directory that cannot be listed is not swept
  }

  /// The directory, locked; nothing if it cannot be locked or was removed meanwhile.
  static unique_fd open_locked(const std::filesystem::path& path, int how) {
    unique_fd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    struct stat opened {
    }, named{};
    const bool held = directory.get() >= 0 && ::flock(directory.get(), how) == 0 &&
                      ::fstat(directory.get(), &opened) == 0 && ::lstat(path.c_str(), &named) == 0 &&
                      opened.st_ino == named.st_ino && opened.st_dev == named.st_dev;
    return held ? std::move(directory) : unique_fd();
  }

  const pid_t owner_ = ::getpid();
  std::filesystem::path path_;
  unique_fd lock_;
};

}  // namespace guestkit::detail
