// What can go wrong, as exceptions: one class for libguestfs' errors, and a few derived classes for the cases
// in which a caller reacts differently. LaunchError is in launch_error.hpp.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/generated/failure.hpp"
#include "guestkit/limits.hpp"

namespace guestkit::inline GUESTKIT_FORM {

/// What is behind a failure: its kind, for programs, and the remedy, for people.
struct Diagnosis {
  Cause cause = Cause::unknown;
  std::string hint = {};  ///< a command or a step; empty if guestkit knows none
};

/// A libguestfs call failed: which one, why, and errno if there was one.
///
/// what() is "op: message; hint". It names the call only once, even if libguestfs' message begins with it
/// too.
class Error : public std::runtime_error {
 public:
  /// @param op            the libguestfs action, such as "mount"
  /// @param message       the reason; if empty, made from error_number
  /// @param error_number  an errno value; 0 if unknown
  Error(const std::string& op, const std::string& message, int error_number = 0, Diagnosis diagnosis = {})
      : Error(op, reason(op, message, error_number), error_number, std::move(diagnosis), resolved{}) {}

  /// The action that failed, such as "mount".
  const std::string& op() const noexcept { return op_; }
  /// The reason, without the action's name in front.
  const std::string& message() const noexcept { return message_; }
  /// The errno value; 0 if libguestfs gave none. (`errno` itself is a macro.)
  int error_number() const noexcept { return error_number_; }
  /// What kind of failure it is, for programs.
  Cause cause() const noexcept { return diagnosis_.cause; }
  /// The remedy, a command or a step in terms of this library; empty if guestkit knows none.
  const std::string& hint() const noexcept { return diagnosis_.hint; }

 private:
  struct resolved {};
  Error(const std::string& op, std::string message, int error_number, Diagnosis diagnosis, resolved)
      : std::runtime_error(op + ": " + message + (diagnosis.hint.empty() ? "" : "; " + diagnosis.hint)),
        op_(op),
        message_(std::move(message)),
        error_number_(error_number),
        diagnosis_(std::move(diagnosis)) {}

  static std::string reason(const std::string& op, const std::string& message, int error_number);

  std::string op_;
  std::string message_;
  int error_number_;
  Diagnosis diagnosis_;
};

/// The handle is closed, being closed, or moved from, or it belongs to the parent of a forked process.
class HandleClosed : public Error {
 public:
  using Error::Error;
};

/// What the appliance wrote before an error.
class WithConsole {
 public:
  /// The last lines that the appliance and libguestfs wrote. Hostile text: escape it.
  const std::vector<std::string>& console() const noexcept { return console_; }

 protected:
  explicit WithConsole(std::vector<std::string> console) : console_(std::move(console)) {}

 private:
  std::vector<std::string> console_;
};

/// The appliance died while in use. Open a new handle: the disks of this one are gone.
class ApplianceCrashed : public Error, public WithConsole {
 public:
  ApplianceCrashed(const std::string& op, const std::string& message, int error_number = 0,
                   std::vector<std::string> console = {})
      : Error(op, message, error_number), WithConsole(std::move(console)) {}
};

/// guestkit killed the appliance: terminate() was called, or a call did not stop when asked to.
class ApplianceKilled : public ApplianceCrashed {
 public:
  using ApplianceCrashed::ApplianceCrashed;
};

/// A call exceeded its time limit.
class CallTimeout : public Error, public WithConsole {
 public:
  CallTimeout(const std::string& op, const std::string& message, int error_number, Cause cause, Seconds limit,
              std::string clock, std::vector<std::string> console = {}, bool handle_usable = true)
      : Error(op, message, error_number, {cause}),
        WithConsole(std::move(console)),
        limit_(limit),
        clock_(std::move(clock)),
        handle_usable_(handle_usable) {}

  /// The limit that was exceeded.
  Seconds limit() const noexcept { return limit_; }
  /// Which one that is, such as "launch_timeout" or "call_timeout".
  const std::string& clock() const noexcept { return clock_; }
  /// Whether the handle can be used further. If not, the appliance was killed: open a new handle.
  bool handle_usable() const noexcept { return handle_usable_; }

 private:
  Seconds limit_;
  std::string clock_;
  bool handle_usable_;
};

}  // namespace guestkit::inline GUESTKIT_FORM

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/base/error.ipp"
#endif
