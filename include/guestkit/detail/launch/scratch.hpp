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
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/base/posix.hpp"
#include "guestkit/detail/base/unique_fd.hpp"
#include "guestkit/detail/launch/processes.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// A directory of this process, 0700, removed at the end of the last handle that uses it. A lock on the
/// directory tells other processes that this one lives: whoever can lock it may remove it.
template <class T = void>
class basic_scratch {
 public:
  /// Makes one beneath that directory. Throws std::system_error.
  explicit basic_scratch(const std::string& base) {
    for (;;) {
      std::string name = base + '/' + prefix() + "XXXXXX";
      if (::mkdtemp(name.data()) == nullptr) throw std::system_error(errno, std::generic_category(), base);
      lock_ = open_locked(name, LOCK_EX);
      path_ = name;
      if (lock_.get() >= 0) return;  // else a sweep was faster than the lock
    }
  }
  basic_scratch(const basic_scratch&) = delete;
  basic_scratch& operator=(const basic_scratch&) = delete;
  ~basic_scratch() {
    if (owner_ != ::getpid()) return;  // a forked child: the directory is its parent's
    remove_tree(path_);
  }

  const std::string& path() const noexcept { return path_; }

  /// Remembers the directory that libguestfs has made elsewhere for a handle's sockets: when the appliance is
  /// gone it is empty, and nothing else tells a sweep whose it was.
  /// @param directory  empty: it is gone
  void note_sockets(std::uint64_t handle, const std::string& directory) const noexcept try {
    const std::string note = (path_ + '/').append(note_prefix) + std::to_string(handle);
    if (directory.empty()) {
      ::unlink(note.c_str());
      return;
    }
    const unique_fd file(::open(note.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (::write(file.get(), directory.data(), directory.size()) != static_cast<ssize_t>(directory.size()))
      ::unlink(note.c_str());
  } catch (const std::exception&) {  // no memory: it may stay behind
  }

  /// The process' directory beneath that one. The first call sweeps away what killed processes left there.
  static std::shared_ptr<basic_scratch> beneath(const std::string& base) {
    struct directories {
      std::mutex mutex;
      std::map<std::string, std::weak_ptr<basic_scratch>> known;
    };
    static constinit of_process<directories> all;
    auto& [mutex, known] = all.get();
    const std::lock_guard lock(mutex);
    const auto [entry, first] = known.try_emplace(base);
    if (first) sweep(base);
    auto directory = entry->second.lock();
    if (!directory) entry->second = directory = std::make_shared<basic_scratch>(base);
    return directory;
  }

  /// Removes the directories of this user's processes that are no more. Never follows a link.
  static void sweep(const std::string& base) noexcept {
    each(base, prefix(), [](const std::string& path) {
      const unique_fd lock = open_locked(path, LOCK_EX | LOCK_NB);
      if (lock.get() < 0) return;
      each_name(path, [&](std::string_view name) {
        if (!name.starts_with(note_prefix)) return;
        const std::string sockets = read_text((path + '/').append(name));
        ::unlink((sockets + "/guestfsd.sock").c_str());
        ::rmdir(sockets.c_str());
      });
      remove_tree(path);
    });
    sweep_sockets("/tmp");
    if (const char* const runtime = std::getenv("XDG_RUNTIME_DIR"); runtime != nullptr)
      sweep_sockets(runtime);
  }

  /// libguestfs makes directories for its sockets below /tmp or $XDG_RUNTIME_DIR. One of which the kernel
  /// knows no socket is left over from before an appliance was up.
  static void sweep_sockets(const std::string& base) noexcept {
    each(base, "libguestfs", [](const std::string& path) {
      struct stat s {};
      if (::lstat((path + "/guestfsd.sock").c_str(), &s) != 0 || !S_ISSOCK(s.st_mode)) return;
      if (read_text("/proc/net/unix").find(path + '/') == std::string::npos) remove_tree(path);
    });
  }

 private:
  static constexpr std::string_view note_prefix = "sockets-of-";
  static std::string prefix() { return "guestkit-" + std::to_string(::geteuid()) + "-"; }

  /// Runs for every directory of this user beneath that one whose name begins so.
  template <class F>
  static void each(const std::string& base, const std::string& beginning, F&& visit) noexcept try {
    each_name(base, [&](std::string_view name) {
      if (!name.starts_with(beginning)) return;
      const std::string path = (base + '/').append(name);
      struct stat s {};
      if (::lstat(path.c_str(), &s) == 0 && S_ISDIR(s.st_mode) && s.st_uid == ::geteuid()) visit(path);
    });
  } catch (const std::exception&) {  // no memory: it is not swept
  }

  /// The directory, locked; nothing if it cannot be locked or was removed meanwhile.
  static unique_fd open_locked(const std::string& path, int how) {
    unique_fd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    struct stat opened {
    }, named{};
    const bool held = directory.get() >= 0 && ::flock(directory.get(), how) == 0 &&
                      ::fstat(directory.get(), &opened) == 0 && ::lstat(path.c_str(), &named) == 0 &&
                      opened.st_ino == named.st_ino && opened.st_dev == named.st_dev;
    return held ? std::move(directory) : unique_fd();
  }

  const pid_t owner_ = ::getpid();
  std::string path_;
  unique_fd lock_;
};
using scratch = basic_scratch<>;

}  // namespace guestkit::inline GUESTKIT_FORM::detail
