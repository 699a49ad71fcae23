// What a handle is made of: the C handle, and what guestkit remembers of it.
#pragma once

#include <guestfs.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/launch/console.hpp"
#include "guestkit/detail/launch/scratch.hpp"
#include "guestkit/detail/launch/settings.hpp"
#include "guestkit/detail/turn/admission.hpp"
#include "guestkit/detail/turn/turns.hpp"
#include "guestkit/generated/launch_info.hpp"
#include "guestkit/handle_options.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

struct listener;  // listeners.hpp

std::uint64_t next_serial() noexcept;

/// Makes a C handle that takes nothing from the environment and is not closed at exit: libguestfs would run
/// callbacks into a program that is half gone. Throws Error.
guestfs_h* create_c_handle();

/// One of the places for open handles that the process has.
class handle_place {
 public:
  handle_place();
  ~handle_place() { give_back(); }
  handle_place(const handle_place&) = delete;
  handle_place& operator=(const handle_place&) = delete;
  void give_back() noexcept;

 private:
  bool held_ = true;
};

/// What the user wants of launches, and what libguestfs would take by itself.
struct launch_wishes {
  Accel accel = Accel::automatic;
  Tuning tuning = Tuning::automatic;
  std::string appliance = "auto";
  std::string path = {}, hypervisor = {};             // libguestfs' defaults
  bool path_given = false, hypervisor_given = false;  // by the environment
};

/// Shared by the handle, the calls that run on it and, weakly, its subscriptions: an object that its own
/// callback destroys serves the call to its end.
struct handle_state {
  /// What the user gave the machine before its launch, to give it to a fresh C handle too.
  struct addition {
    bool disk = false;  // libguestfs forgets disks when an appliance ends, and nothing else
    std::function<bool(guestfs_h*)> repeat;
  };

  handle_state() = default;
  handle_state(const handle_state&) = delete;
  handle_state& operator=(const handle_state&) = delete;
  ~handle_state() { end(); }

  /// Throws HandleClosed in a forked child.
  void refuse_fork(const char* op) const;
  /// Whether the handle is this process' own, and not that of the process before a fork.
  bool is_ours() const noexcept { return generation == fork_generation(); }

  bool wants(LogLevel level) const noexcept { return log && level >= log_level; }

  /// Remembers what a call has given the machine. For the thread that has the turn.
  void remember(addition given);

  /// Frees the C handle. No call may be inside it.
  void end() noexcept;

  handle_place place;
  guestfs_h* h = nullptr;
  std::uint64_t serial = next_serial();  // of the C handle: addresses are used again, serials are not
  const unsigned generation = fork_generation();
  const std::unique_ptr<detail::turns, process_deleter> turns{new detail::turns};

  // What it writes
  std::atomic<bool> verbose{false};  // library and console lines are to be seen on stderr
  std::atomic<bool> traces{false};   // so are traces
  console_ring console;
  LogSink log;
  LogLevel log_level = LogLevel::info;

  // Launches
  launch_wishes wishes;  // written once, when the handle is made
  covered_settings covered;
  admission::place memory;                   // for its appliance; changed in a turn or at the end
  std::string tmpdir;                        // as the user sees it; of whose turn it is
  std::shared_ptr<scratch> temporary;        // where libguestfs makes its own directory
  std::vector<std::shared_ptr<void>> disks;  // what QEMU is to open when it starts; of whose turn it is
  std::vector<addition> additions;           // of whose turn it is
  std::atomic<bool> disks_gone{false};       // those among the additions are libguestfs' no more
  std::atomic<bool> native_given{false};     // the C handle is in others' hands and must stay what it is
  std::mutex launch_mutex;                   // guards the two below
  std::optional<LaunchInfo> launch;          // the last one that succeeded
  std::string verdict;                       // of a template's hypervisor, on this launch

  // Who listens to its events
  std::mutex listeners_mutex;  // guards the two below; never held while a callback runs or is destroyed
  std::map<int, std::shared_ptr<listener>> listeners;  // by number, that is in order of registration
  std::atomic<std::uint64_t> listened{0};              // the events that somebody listens to
};

/// Writes a line to the handle's log; warnings and errors to stderr where there is none.
void log(const handle_state& state, LogLevel level, const std::string& line) noexcept;

/// One log line for all handles of the process: a warning that is worth one line only.
void warn_once(const handle_state& state, std::atomic_flag& said, const std::string& line) noexcept;

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/call/handle_state.ipp"
#endif
