// What a handle is made with.
#pragma once

#include <functional>
#include <string>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/limits.hpp"

namespace guestkit::inline GUESTKIT_FORM {

/// At most this many handles may be open at once in a process: libguestfs aborts it a little above.
inline constexpr int max_handles = 1000;

/// Who runs the appliance's processor.
enum class Accel {
  automatic,  ///< KVM where it works, else TCG, with one log line
  kvm,        ///< KVM or a failed launch
  tcg,        ///< emulation: works everywhere, several times slower
};

/// Kernel arguments that make an emulated appliance start and run faster: see docs/fast-launch.md.
enum class Tuning {
  automatic,  ///< where the appliance is emulated and QEMU is the system's own
  none,       ///< never
};

enum class LogLevel { debug, info, warning, error };

/// Receives guestkit's own log lines, on the thread that caused them; it must not throw.
using LogSink = std::function<void(LogLevel, const std::string&)>;

/// What a handle is made with.
struct HandleOptions {
  /// Take LIBGUESTFS_* and TMPDIR from the environment: guestfs(3), "ENVIRONMENT VARIABLES". A variable that
  /// is empty counts as unset; one that makes no sense is an Error that names it.
  bool environment = true;
  Accel accel = Accel::automatic;
  Tuning tuning = Tuning::automatic;
  /// "auto": the fastest one that guestkit has built, while it fits what is installed; "system": libguestfs'
  /// own; "inspection": as "auto", for inspection alone, since augeas then knows the files that inspect_os
  /// reads and no others; or the directory of one, a fixed appliance too. "auto" leaves it to set_path(),
  /// set_hv(), LIBGUESTFS_PATH and LIBGUESTFS_HV where the user has set one of them.
  std::string appliance = "auto";
  /// Where guestkit's own log lines go; warnings and errors go to stderr if it is empty.
  LogSink log = {};
  /// The least that the log takes. With debug it gets what libguestfs traces and what the appliance writes,
  /// which then does not go to stderr; secrets are replaced by ***.
  LogLevel log_level = LogLevel::info;
  Limits limits = {};
};

}  // namespace guestkit::inline GUESTKIT_FORM
