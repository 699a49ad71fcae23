// The state of a handle: the C handle, and what guestkit records about it.
#pragma once

#include <guestfs.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "guestkit/detail/base/fork.hpp"
#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/state/console.hpp"
#include "guestkit/detail/state/machine.hpp"
#include "guestkit/detail/state/settings.hpp"
#include "guestkit/detail/turn/turns.hpp"
#include "guestkit/handle_options.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

struct listener;    // listeners.hpp
class local_mount;  // local_mount.hpp

std::uint64_t next_serial() noexcept;

/// Creates a C handle that reads nothing from the environment and is not closed at exit, when libguestfs
/// would run callbacks into a half-destroyed program. Throws Error.
guestfs_h* create_c_handle();

struct handle_state;

/// Closes a C handle that no call is inside of. Where that would abort the process, shuts its appliance down,
/// leaks it and says so in the log: libguestfs removes its directories by running rm, for which it needs low
/// descriptors. Returns whether it is closed.
/// @param has_files  whether it may have such directories
bool close_c_handle(guestfs_h* h, bool has_files, const handle_state& of) noexcept;

struct c_handle_closer {
  const handle_state* of;
  void operator()(guestfs_h* h) const noexcept { close_c_handle(h, true, *of); }
};
using c_handle = std::unique_ptr<guestfs_h, c_handle_closer>;

/// One of the slots for open handles that the process has.
class handle_place {
 public:
  handle_place();
  ~handle_place() { give_back(); }
  handle_place(const handle_place&) = delete;
  handle_place& operator=(const handle_place&) = delete;
  void give_back() noexcept;
  /// Never gives it back: the C handle is leaked.
  void keep() noexcept { held_ = false; }

 private:
  bool held_ = true;
};

/// The user's wishes for launches, and libguestfs' own defaults.
struct launch_wishes {
  Accel accel = Accel::automatic;
  Tuning tuning = Tuning::automatic;
  Sandbox sandbox = Sandbox::automatic;
  std::string appliance = "auto";
  std::string path = {}, hypervisor = {};             // libguestfs' defaults
  int memsize = 0;                                    // likewise, in MB
  bool path_given = false, hypervisor_given = false;  // by the environment

  bool is_strict() const noexcept { return sandbox == Sandbox::strict; }
};

/// What the handle prints, and where. Threads: any.
struct handle_output {
  bool wants(LogLevel level) const noexcept { return log && level >= log_level; }

  LogSink log;                          // this and its level: written once, when the handle is made
  LogLevel log_level = LogLevel::info;  // the least that the log gets
  std::atomic<bool> verbose{false};     // library and console lines are to appear on stderr
  std::atomic<bool> traces{false};      // and so are traces
  console_ring console;
};

/// The listeners for its events. Threads: any. Whoever changes them holds the mutex, but not while a callback
/// runs or is destroyed.
struct listener_list {
  std::mutex mutex;
  std::vector<std::shared_ptr<listener>> all;  // in the order of their numbers and registrations
  std::atomic<std::uint64_t> events{0};        // that have a listener
};

/// Its directory of the host with the guest's files. Threads: any.
struct mounting {
  std::mutex mutex;                   // guards the other
  std::shared_ptr<local_mount> last;  // that mount_local() made
};

/// Shared by the handle, the calls that run on it and, weakly, its subscriptions. So if a callback destroys
/// its own handle, the state survives until the call has ended.
struct handle_state {
  handle_state() = default;
  handle_state(const handle_state&) = delete;
  handle_state& operator=(const handle_state&) = delete;
  ~handle_state() { end(); }

  /// Throws HandleClosed in a forked child.
  void refuse_fork(const char* op) const;
  /// Whether the handle belongs to this process, rather than to the one that forked it.
  bool is_ours() const noexcept { return generation == fork_generation(); }

  /// Frees the C handle. No call may be inside it.
  void end() noexcept;

  handle_place place;
  guestfs_h* h = nullptr;
  std::uint64_t serial = next_serial();  // of the C handle: an address may be reused, a serial is not
  const unsigned generation = fork_generation();
  const std::unique_ptr<detail::turns, process_deleter> turns{new detail::turns};
  launch_wishes wishes;                       // written once, when the handle is made
  std::atomic<bool> native_given{false};      // native() was called: the C handle must not be replaced
  std::atomic<bool> has_run_programs{false};  // so that libguestfs may have made directories

  handle_output output;
  listener_list listeners;
  covered_settings covered;
  detail::machine machine;
  launch_record launches;
  detail::mounting mounting;
};

/// The appliance is about to be shut down: it is no longer expected to answer, and its disks are gone. Where
/// none runs, libguestfs shuts nothing down and keeps the disks.
void forget_appliance(handle_state& state) noexcept;

/// Writes a line to the handle's log. Without a log, warnings and errors go to stderr.
void log(const handle_state& state, LogLevel level, std::string_view line) noexcept;

/// Logs a line once for all handles of the process: for warnings that are not worth repeating.
void warn_once(const handle_state& state, std::atomic_flag& said, std::string_view line) noexcept;

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/state/handle_state.ipp"
#endif
