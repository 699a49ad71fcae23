// The options of a new handle.
#pragma once

#include <functional>
#include <string>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/limits.hpp"

namespace guestkit::inline GUESTKIT_FORM {

/// The most handles a process may have open at once: a little above this number libguestfs aborts the
/// process.
inline constexpr int max_handles = 1000;

/// What runs the appliance's processor.
enum class Accel {
  automatic,  ///< KVM where it works, otherwise TCG with one log line
  kvm,        ///< KVM, or the launch fails
  tcg,        ///< emulation: works everywhere, several times slower
};

/// Kernel arguments that make an emulated appliance start and run faster; see docs/fast-launch.md.
enum class Tuning {
  automatic,  ///< when the appliance is emulated and QEMU is the system's own
  none,       ///< never
};

/// How far QEMU, which runs as your user, is confined in case a disk takes it over; see SECURITY.md.
enum class Sandbox {
  automatic,  ///< QEMU filters its system calls (seccomp) where it can, which LaunchInfo::sandbox tells
  strict,     ///< and it opens no file but the disks, for which Landlock is needed, or the launch fails
  none,       ///< not at all, as some of config()'s parameters need: those by which QEMU runs programs
};

enum class LogLevel { debug, info, warning, error };

/// Receives guestkit's own log lines, on the thread that caused them; it must not throw.
using LogSink = std::function<void(LogLevel, const std::string&)>;

/// The options of a new handle.
struct HandleOptions {
  /// Read LIBGUESTFS_* and TMPDIR from the environment; see guestfs(3), "ENVIRONMENT VARIABLES". An empty
  /// variable counts as unset; an invalid one is an Error that names it.
  bool environment = true;
  Accel accel = Accel::automatic;
  Tuning tuning = Tuning::automatic;
  Sandbox sandbox = Sandbox::automatic;
  /// Which appliance to use. "auto": the fastest one that guestkit has built, if it still fits what is
  /// installed. "system": libguestfs' own. "inspection": like "auto", but a restored one is ready sooner,
  /// since its udev sleeps until a block device appears or changes: programs of the guest may miss links in
  /// /dev/disk. Anything else: the directory of an appliance, which may also be a fixed appliance. "auto"
  /// yields to set_path(), set_hv(), LIBGUESTFS_PATH and LIBGUESTFS_HV if the user has set one of them.
  std::string appliance = "auto";
  /// Where guestkit's own log lines go. If empty, warnings and errors go to stderr.
  LogSink log = {};
  /// The lowest level that is logged. At debug, the log also gets libguestfs' traces and the appliance's
  /// output, which then do not go to stderr. Secrets are replaced by ***.
  LogLevel log_level = LogLevel::info;
  Limits limits = {};
};

}  // namespace guestkit::inline GUESTKIT_FORM
