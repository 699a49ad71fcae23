// Why a launch failed, deduced from the output of the appliance, QEMU and libguestfs.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/error.hpp"

namespace guestkit::inline GUESTKIT_FORM {

/// The appliance did not start.
class LaunchError : public Error {
 public:
  /// Deduces the cause and the hint from the message and the console.
  LaunchError(const std::string& op, const std::string& message, int error_number,
              std::vector<std::string> console = {});

  /// For what guestkit itself has found out.
  LaunchError(const std::string& op, const std::string& message, int error_number, Diagnosis diagnosis,
              std::vector<std::string> console = {})
      : Error(op, message, error_number, std::move(diagnosis)), console_(std::move(console)) {}

  /// The last lines that the appliance and libguestfs wrote. Hostile text: escape it.
  const std::vector<std::string>& console() const noexcept { return console_; }

 private:
  std::vector<std::string> console_;
};

namespace detail {
/// What is behind libguestfs' complaint that it cannot write its own files; unknown if it is another one.
Diagnosis place_complaint(const std::string& message);
}  // namespace detail

}  // namespace guestkit::inline GUESTKIT_FORM

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/launch/launch_error.ipp"
#endif
