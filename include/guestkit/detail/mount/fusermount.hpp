// The host's side of a FUSE mount: which directory may be one, and the program that unmounts for users.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/base/unique_fd.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Returns the directory's real path. Throws Error if no guest can be mounted there: it has to be empty, and
/// this user's to write.
std::string mountpoint(const char* op, const std::string& directory);

/// Returns where the program fusermount is; "" if there is none.
std::string find_fusermount();
/// The same, but throws Error if there is none.
std::string fusermount(const char* op);

/// Throws Error if this user may not show a mount to others.
void refuse_allow_other(const char* op);

/// Returns the device number of what is mounted exactly there, if anything. Does not wait for who serves it.
std::optional<std::uint64_t> mounted_device(const std::string& path) noexcept;

/// A process of its own that unmounts a directory if this process ends without having done so, even if it is
/// killed. libfuse's auto_unmount does not: it gives up if anybody looks at the directory at that moment.
class mount_watcher {
 public:
  /// @param source  what the kernel calls the mount's source, in which this process's number has to be
  mount_watcher(const char* op, const std::string& directory, const std::string& source);
  mount_watcher(const mount_watcher&) = delete;
  mount_watcher& operator=(const mount_watcher&) = delete;
  /// Nothing is left to unmount.
  void release() noexcept;
  /// Has it unmount the directory now, unless it is released; waits for that.
  ~mount_watcher();

 private:
  unique_fd line_;
  pid_t number_ = -1;
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/mount/fusermount.ipp"
#endif
