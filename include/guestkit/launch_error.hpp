// Why a launch failed, read from what the appliance, QEMU and libguestfs wrote.
#pragma once

#include <string>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/error.hpp"

namespace guestkit::inline GUESTKIT_FORM {

/// What kept the appliance from starting.
enum class LaunchCause {
  unknown,
  kernel_unreadable,  ///< no kernel that this user can read
  kvm,                ///< KVM was asked for and does not work
  memory,             ///< not enough memory
  appliance_build,    ///< supermin could not build the appliance
  appliance_damaged,  ///< the appliance's files are missing or unusable
  qemu_missing,       ///< the hypervisor is not there or cannot be run
  disk_missing,       ///< a disk or its backing file is not there
  disk_locked,        ///< another process has a disk open for writing
  disk_unreadable,    ///< a disk may not be read or written by this user, or is damaged
  no_space,           ///< a file system is full
};

/// The cause's name as Python and JSON have it, such as "disk_locked".
const char* to_string(LaunchCause cause) noexcept;

/// The appliance did not start.
class LaunchError : public Error {
 public:
  /// Reads the cause from the message and the console.
  LaunchError(const std::string& op, const std::string& message, int error_number,
              std::vector<std::string> console = {});

  LaunchCause cause() const noexcept { return cause_; }
  /// The remedy: a command or a step; empty where guestkit knows none.
  const std::string& hint() const noexcept { return hint_; }
  /// The last lines that the appliance and libguestfs wrote: hostile text, escape it.
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
