// Why a launch failed, deduced from the output of the appliance, QEMU and libguestfs.
#pragma once

#include <string>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/error.hpp"

namespace guestkit::inline GUESTKIT_FORM {

/// What kept the appliance from starting.
enum class LaunchCause {
  unknown,
  kernel_unreadable,  ///< there is no kernel that this user can read
  kvm,                ///< KVM was requested and does not work
  memory,             ///< not enough memory
  appliance_build,    ///< supermin could not build the appliance
  appliance_damaged,  ///< the appliance's files are missing or unusable
  qemu_missing,       ///< the hypervisor is missing or cannot be run
  disk_missing,       ///< a disk or its backing file is missing
  disk_locked,        ///< another process has a disk open for writing
  disk_unreadable,    ///< this user may not read or write a disk, or the disk is damaged
  no_space,           ///< a file system is full
};

/// The cause's name in Python and JSON, such as "disk_locked".
const char* to_string(LaunchCause cause) noexcept;

/// The appliance did not start.
class LaunchError : public Error {
 public:
  /// Deduces the cause from the message and the console.
  LaunchError(const std::string& op, const std::string& message, int error_number,
              std::vector<std::string> console = {});

  LaunchCause cause() const noexcept { return cause_; }
  /// The remedy, a command or a step; empty if guestkit knows none.
  const std::string& hint() const noexcept { return hint_; }
  /// The last lines that the appliance and libguestfs wrote. Hostile text: escape it.
  const std::vector<std::string>& console() const noexcept { return console_; }

 private:
  LaunchCause cause_;
  std::string hint_;
  std::vector<std::string> console_;
};

}  // namespace guestkit::inline GUESTKIT_FORM

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/launch/launch_error.ipp"
#endif
