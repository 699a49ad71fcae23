// The host's side of a FUSE mount: which directory may be one, and the program that unmounts for users.
#pragma once

#include <string>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/base/unique_fd.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Returns the directory's real path. Throws Error if no guest can be mounted there: it has to be empty, and
/// this user's to write.
std::string mountpoint(const char* op, const std::string& directory);

/// Returns where the program fusermount is. Throws Error if there is none.
std::string fusermount(const char* op);

/// Throws Error if this user may not show a mount to others.
void refuse_allow_other(const char* op);

/// Whether something is mounted exactly there. Does not wait for who serves it.
bool is_mountpoint(const std::string& path) noexcept;

/// A process of its own that unmounts a directory if this process ends without having done so, even if it is
/// killed. libfuse's auto_unmount does not: it gives up if anybody looks at the directory at that moment.
class mount_watcher {
 public:
  /// @param source  what the kernel calls the mount's source, in which this process's number has to be
  mount_watcher(const char* op, const std::string& directory, const std::string& source);
  mount_watcher(const mount_watcher&) = delete;
  mount_watcher& operator=(const mount_watcher&) = delete;
  /// The directory is unmounted.
  ~mount_watcher();

 private:
  unique_fd line_;
  pid_t number_ = -1;
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/mount/fusermount.ipp"
#endif
