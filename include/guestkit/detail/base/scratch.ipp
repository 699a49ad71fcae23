#pragma once

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <filesystem>
#include <functional>
#include <mutex>
#include <set>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "guestkit/detail/base/fork.hpp"
#include "guestkit/detail/base/host_files.hpp"
#include "guestkit/detail/base/scratch.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

inline constexpr std::string_view socket_note_prefix = "sockets-of-";
/// A socket that is younger may be that of a launch, although this process does not see it.
inline constexpr std::chrono::seconds longest_launch = std::chrono::minutes(10);

/// The prefix of the names of this user's scratch directories.
inline std::string scratch_prefix() {
  return "guestkit-" + std::to_string(::geteuid()) + "-";
}

/// The standard library goes from descriptor to descriptor.
GUESTKIT_INLINE void remove_tree(const std::string& path) noexcept try {
  std::error_code ignored;
  std::filesystem::remove_all(path, ignored);
} catch (const std::exception&) {  // no memory
}

/// Whether the directory that is open still has that path. Sets errno if not.
inline bool is_at(const unique_fd& directory, const std::string& path) noexcept {
  struct stat opened {
  }, named{};
  if (::fstat(directory.get(), &opened) != 0 || ::lstat(path.c_str(), &named) != 0) return false;
  errno = ENOENT;
  return opened.st_ino == named.st_ino && opened.st_dev == named.st_dev;
}

/// Opens and locks a directory. Returns no descriptor and sets errno if that cannot be done: EWOULDBLOCK if
/// another process holds the lock, ENOENT if one has removed the directory meanwhile.
/// @param how  for flock(2)
inline unique_fd open_locked(const std::string& path, int how) {
  unique_fd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (directory.get() < 0) return directory;
  int locked = -1;
  do locked = ::flock(directory.get(), how);
  while (locked != 0 && errno == EINTR);
  if (locked == 0 && is_at(directory, path)) return directory;
  const int why = errno;
  directory = unique_fd();
  errno = why;
  return directory;
}

/// Calls visit with the path of every directory in base that belongs to this user and has that prefix.
inline void each_own_directory(const std::string& base, const std::string& beginning,
                               const std::function<void(const std::string&)>& visit) noexcept try {
  for (const auto& name : host_names_in(base)) {
    if (!name.starts_with(beginning)) continue;
    const std::string path = base + '/' + name;
    struct stat s {};
    if (::lstat(path.c_str(), &s) == 0 && S_ISDIR(s.st_mode) && s.st_uid == ::geteuid()) visit(path);
  }
} catch (const std::exception&) {  // no memory: the next process sweeps
}

GUESTKIT_INLINE scratch::scratch(const std::string& base) : owner_(::getpid()), base_(base) {
  for (;;) {
    std::string name = base + '/' + scratch_prefix() + "XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw std::system_error(errno, std::generic_category(), base);
    lock_ = open_locked(name, LOCK_EX);
    path_ = name;
    if (lock_.get() >= 0) return;
    if (errno == ENOENT) continue;  // a sweep got the lock first
    const int why = errno;
    ::rmdir(name.c_str());
    throw std::system_error(why, std::generic_category(), name);
  }
}

GUESTKIT_INLINE scratch::~scratch() {
  if (owner_ != ::getpid()) return;  // a forked child: the directory is its parent's
  remove_tree(path_);
}

GUESTKIT_INLINE void scratch::note_sockets(std::uint64_t handle, const std::string& directory) const noexcept
    try {
  const std::string note = note_of(handle);
  if (directory.empty()) {
    ::unlink(note.c_str());
    return;
  }
  const unique_fd file(::open(note.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (::write(file.get(), directory.data(), directory.size()) != static_cast<ssize_t>(directory.size()))
    ::unlink(note.c_str());
} catch (const std::exception&) {  // no memory: the directory may stay behind
}

GUESTKIT_INLINE std::string scratch::note_of(std::uint64_t handle) const {
  return (path_ + '/').append(socket_note_prefix) + std::to_string(handle);
}

GUESTKIT_INLINE std::shared_ptr<scratch> scratch::beneath(const std::string& base) {
  struct directories {
    std::mutex mutex;
    std::set<std::string> swept;  // bases
    std::vector<std::weak_ptr<scratch>> known;
  };
  static constinit of_process<directories> all;
  auto& [mutex, swept, known] = all.get();
  const std::lock_guard lock(mutex);
  if (swept.insert(base).second) sweep(base);
  std::vector<std::weak_ptr<scratch>> in_use;
  for (const auto& each : known)
    if (auto directory = each.lock()) {
      if (directory->base_ == base && is_at(directory->lock_, directory->path_)) return directory;
      in_use.push_back(each);
    }
  auto directory = std::make_shared<scratch>(base);
  in_use.push_back(directory);
  known.swap(in_use);
  return directory;
}

/// Removes the socket directory that a note in a scratch directory tells of.
inline void remove_noted(const std::string& note) {
  const std::string sockets = read_text(note);
  if (!sockets.starts_with('/')) return;  // there is no note, or it was not written to its end
  ::unlink((sockets + "/guestfsd.sock").c_str());
  ::rmdir(sockets.c_str());
}

/// Removes the socket directories that a dead process recorded in its scratch directory.
inline void remove_noted_sockets(const std::string& path) {
  for (const auto& name : host_names_in(path))
    if (name.starts_with(socket_note_prefix)) remove_noted(path + '/' + name);
}

GUESTKIT_INLINE void scratch::remove_sockets(std::uint64_t handle) const noexcept try {
  remove_noted(note_of(handle));
} catch (const std::exception&) {  // no memory: the directory may stay behind
}

GUESTKIT_INLINE void scratch::sweep(const std::string& base) noexcept {
  each_own_directory(base, scratch_prefix(), [](const std::string& path) {
    const unique_fd lock = open_locked(path, LOCK_EX | LOCK_NB);
    if (lock.get() < 0) return;
    remove_noted_sockets(path);
    remove_tree(path);
  });
  sweep_sockets("/tmp");
  if (const char* const runtime = std::getenv("XDG_RUNTIME_DIR"); runtime != nullptr) sweep_sockets(runtime);
}

GUESTKIT_INLINE void scratch::sweep_sockets(const std::string& base) noexcept {
  each_own_directory(base, "libguestfs", [](const std::string& path) {
    struct stat s {};
    if (::lstat((path + "/guestfsd.sock").c_str(), &s) != 0 || !S_ISSOCK(s.st_mode)) return;
    // The kernel's list has the path as its owner wrote it, and no sockets of other network namespaces.
    if (std::time(nullptr) - s.st_mtim.tv_sec < longest_launch.count()) return;
    const auto known = read_text("/proc/net/unix");
    if (!known.empty() && known.find(path.substr(path.rfind('/')) + '/') == std::string::npos)
      remove_tree(path);
  });
}

GUESTKIT_INLINE std::string socket_directory(pid_t hypervisor) {
  constexpr std::string_view name = "/guestfsd.sock";
  for (const auto& entry : host_names_in("/proc/self/fd")) {
    const int number = std::atoi(entry.c_str());
    sockaddr_un own{};
    ucred peer{};
    socklen_t own_size = sizeof own, peer_size = sizeof peer;
    if (::getsockopt(number, SOL_SOCKET, SO_PEERCRED, &peer, &peer_size) != 0 || peer.pid != hypervisor ||
        ::getsockname(number, reinterpret_cast<sockaddr*>(&own), &own_size) != 0 || own.sun_family != AF_UNIX)
      continue;
    const auto begin = offsetof(sockaddr_un, sun_path);
    std::string path(static_cast<const char*>(own.sun_path), std::max<std::size_t>(own_size, begin) - begin);
    path.resize(std::min(path.find('\0'), path.size()));
    if (path.ends_with(name)) return path.substr(0, path.size() - name.size());
  }
  return "";
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
