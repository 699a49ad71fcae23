// A private directory for the files that libguestfs writes: overlays of the disks, sockets, logs.
//
// libguestfs' own directories are 0755 when root runs it, so every user could read a guest's data, and a
// process that is killed leaves them behind.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/base/unique_fd.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// A directory of this process that only this user can enter. The destructor removes it.
///
/// It holds a lock on the directory for its lifetime, which shows the sweeps of other processes that the
/// owner is alive. Whoever can take the lock may remove the directory.
class scratch {
 public:
  /// Makes one beneath that directory. Throws std::system_error.
  explicit scratch(const std::string& base);
  scratch(const scratch&) = delete;
  scratch& operator=(const scratch&) = delete;
  ~scratch();

  const std::string& path() const noexcept { return path_; }

  /// Records the directory that libguestfs has made elsewhere for a handle's sockets. Once the appliance is
  /// gone that directory is empty, and only this note tells a sweep whose it was.
  /// @param directory  empty: the directory has been removed
  void note_sockets(std::uint64_t handle, const std::string& directory) const noexcept;

  /// Removes the directory that was recorded for that handle's sockets.
  void remove_sockets(std::uint64_t handle) const noexcept;

  /// The directory beneath `base` that all handles of the process share, a new one if something has removed
  /// it. The first call sweeps away what killed processes have left there. Throws std::system_error. Threads:
  /// any.
  static std::shared_ptr<scratch> beneath(const std::string& base);

  /// Removes the directories left by this user's dead processes. Never follows a link.
  static void sweep(const std::string& base) noexcept;

  /// Removes libguestfs' socket directories, below /tmp or $XDG_RUNTIME_DIR, that contain an old socket which
  /// the kernel does not know: their process was killed before its appliance was up.
  static void sweep_sockets(const std::string& base) noexcept;

 private:
  std::string note_of(std::uint64_t handle) const;

  const pid_t owner_;
  const std::string base_;
  std::string path_;
  unique_fd lock_;
};

/// Removes a directory and its contents without following links. What cannot be removed stays.
void remove_tree(const std::string& path) noexcept;

/// The directory of the socket by which this process talks to a hypervisor; empty if there is none.
std::string socket_directory(pid_t hypervisor);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/base/scratch.ipp"
#endif
