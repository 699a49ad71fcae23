// Why a launch failed, deduced from the output of the appliance, QEMU and libguestfs.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/error.hpp"

namespace guestkit::inline GUESTKIT_FORM {

/// The appliance did not start.
class LaunchError : public Error, public WithConsole {
 public:
  /// Deduces the cause and the hint from the message and the console.
  LaunchError(const std::string& op, const std::string& message, int error_number,
              std::vector<std::string> console = {});

  /// For what guestkit itself has found out.
  LaunchError(const std::string& op, const std::string& message, int error_number, Diagnosis diagnosis,
              std::vector<std::string> console = {})
      : Error(op, message, error_number, std::move(diagnosis)), WithConsole(std::move(console)) {}
};

}  // namespace guestkit::inline GUESTKIT_FORM

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/launch/launch_error.ipp"
#endif
