#pragma once

#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <exception>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "guestkit/detail/base/device_number.hpp"
#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/base/host_files.hpp"
#include "guestkit/detail/base/text.hpp"
#include "guestkit/detail/mount/fusermount.hpp"
#include "guestkit/error.hpp"
#include "guestkit/values.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE std::string mountpoint(const char* op, const std::string& directory) {
  namespace fs = std::filesystem;
  const auto refuse = [&](const std::string& why, int number, const std::string& hint = "") {
    throw Error(op, shown(directory) + ": " + why, number, {Cause::unknown, hint});
  };
  const auto check = [&](const std::error_code& error) {
    if (error.value() == ENOTCONN)
      refuse("what was mounted there is dead", ENOTCONN, "unmount it: guestkit unmount");
    if (error) refuse(error.message(), error.value());
  };
  std::error_code error;
  const auto path = fs::canonical(cstr(directory).c_str(), error);
  check(error);
  if (mounted_device(path)) refuse("something is mounted there already", EBUSY);
  const fs::directory_iterator entries(path, error);
  check(error);
  if (entries != fs::directory_iterator()) refuse("is not empty: what is in it would be hidden", ENOTEMPTY);
  if (::access(path.c_str(), W_OK) != 0)
    refuse("you can mount only on a directory that you can write to", EACCES);
  return path;
}

GUESTKIT_INLINE std::string find_fusermount() {
  for (const auto& folder : program_folders())
    for (const char* name : {"/fusermount3", "/fusermount"})
      if (folder.starts_with('/') && is_program(folder + name)) return folder + name;
  return "";
}

GUESTKIT_INLINE std::string fusermount(const char* op) {
  if (auto found = find_fusermount(); !found.empty()) return found;
  throw Error(op, "fusermount is missing, which mounts for users", ENOENT,
              {Cause::unknown, "install the package fuse3 or fuse"});
}

GUESTKIT_INLINE void refuse_allow_other(const char* op) {
  if (::geteuid() == 0) return;
  const auto configuration = read_text("/etc/fuse.conf");
  for (std::string_view lines = configuration; !lines.empty();) {
    const auto line = take_until(lines, '\n');
    const auto end = line.find_last_not_of(" \t\r");
    if (end != std::string::npos && line.substr(0, end + 1) == "user_allow_other") return;
  }
  throw Error(op, "this host does not let users show a mount to others", EPERM,
              {Cause::unknown, "have an administrator put user_allow_other into /etc/fuse.conf"});
}

/// The path as /proc/self/mountinfo shows it.
inline std::string in_mountinfo(const std::string& path) {
  std::string text;
  for (const char c : path) switch (c) {
      case ' ':
        text += "\\040";
        break;
      case '\t':
        text += "\\011";
        break;
      case '\n':
        text += "\\012";
        break;
      case '\\':
        text += "\\134";
        break;
      default:
        text += c;
    }
  return text;
}

/// The device number of what the kernel's table of mounts has last on that path: it lies uppermost.
inline std::optional<std::uint64_t> device_in_mountinfo(const std::string& path) {
  std::optional<std::uint64_t> found;
  const auto table = read_text("/proc/self/mountinfo");
  const auto wanted = in_mountinfo(path);
  for (std::string_view lines = table; !lines.empty();) {
    // "22 28 0:21 / /proc rw …": proc_pid_mountinfo(5)
    auto line = take_until(lines, '\n');
    take_until(line, ' ');
    take_until(line, ' ');
    auto device = take_until(line, ' ');
    take_until(line, ' ');
    if (take_until(line, ' ') != wanted) continue;
    const auto major = number_of(take_until(device, ':')), minor = number_of(device);
    if (major && minor) found = device_number(static_cast<unsigned>(*major), static_cast<unsigned>(*minor));
  }
  return found;
}

GUESTKIT_INLINE std::optional<std::uint64_t> mounted_device(const std::string& path) noexcept try {
  struct statx found {};
  constexpr int without_asking = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC;
  // In place of a system call that is not there, the C library's statx() would ask who serves the directory.
  const bool told = ::syscall(SYS_statx, AT_FDCWD, path.c_str(), without_asking, 0, &found) == 0 &&
                    (found.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) != 0;
  if (!told) return device_in_mountinfo(path);  // Linux before 5.8, or the sandbox of a container
  if ((found.stx_attributes & STATX_ATTR_MOUNT_ROOT) == 0) return std::nullopt;
  return device_number(found.stx_dev_major, found.stx_dev_minor);
} catch (const std::exception&) {  // no memory
  return std::nullopt;
}

GUESTKIT_INLINE mount_watcher::mount_watcher(const char* op, const std::string& directory,
                                             const std::string& source) {
  // Its end of the line sees whether this process says that all is well before it goes.
  constexpr const char* script =
      "read -r over && exit; while read -r line; do case $line in *\" $4 \"*\" fuse.guestkit $1 \"*) "
      "exec \"$2\" -u -z \"$3\" ;; esac; done </proc/self/mountinfo";
  const string_list command{"sh",   "-c",           script,    "guestkit-unmount",
                            source, fusermount(op), directory, in_mountinfo(directory)};
  const cstr_list words(command);
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) throw Error(op, "", errno);
  line_ = unique_fd(ends[0]);
  const unique_fd theirs(ends[1]);

  posix_spawn_file_actions_t files;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_adddup2(&files, theirs.get(), STDIN_FILENO);
  for (const int output : {STDOUT_FILENO, STDERR_FILENO})
    ::posix_spawn_file_actions_addopen(&files, output, "/dev/null", O_WRONLY, 0);
  // Nothing of this process's stays open in it, or in use by it.
  ::posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
  ::posix_spawn_file_actions_addchdir_np(&files, "/");
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  sigset_t signals;
  ::sigemptyset(&signals);
  ::posix_spawnattr_setsigmask(&attributes, &signals);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
  const int error = ::posix_spawn(&number_, "/bin/sh", &files, &attributes, words.c_strv(), environ);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&files);
  if (error != 0) throw Error(op, "", error);
}

GUESTKIT_INLINE void mount_watcher::release() noexcept {
  ::send(line_.get(), "\n", 1, MSG_NOSIGNAL);
}

GUESTKIT_INLINE mount_watcher::~mount_watcher() {
  ::shutdown(line_.get(), SHUT_RDWR);  // rather than close it: a forked child may have it, too
  while (::waitpid(number_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
