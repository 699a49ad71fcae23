// The end of calls that do not end by themselves, and what their users are told.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/turn/call_clock.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Whether a handle's calls are being stopped, and whether its hypervisor was killed, which no later call
/// undoes. Threads: turns guards it.
class forced_end {
 public:
  using clock = std::chrono::steady_clock;
  enum class kind { none, cancelled, timed_out, terminated };

  /// Stops the calls of the turn: libguestfs is asked until kill_at, then the programs are killed.
  /// @param exceeded  the limit that they have exceeded, if that is why
  void begin(kind how, clock::time_point kill_at, named_limit exceeded = {});
  /// Forgets what is over: the next turn, or what follows a part, may run.
  void forget() noexcept { how_ = kind::none; }

  bool is(kind how) const noexcept { return how_ == how; }
  bool has_begun() const noexcept { return how_ != kind::none; }
  bool is_killed() const noexcept { return !killed_.empty(); }
  clock::time_point kill_at() const noexcept { return kill_at_; }
  /// The limit that was exceeded.
  named_limit exceeded() const noexcept { return exceeded_; }
  /// Has the error tell the limit of the whole call, of which a part has exceeded its share.
  void exceeds(named_limit whole) noexcept { exceeded_ = whole; }

  /// Notes that the hypervisor was killed, unless that is known already.
  /// @param why  as in "the appliance was killed: launch was cancelled and did not end"
  void note_kill(const std::string& why);
  /// Why the hypervisor is being killed.
  /// @param op  the call that does not end; empty: none runs
  std::string reason(const std::string& op) const;

  /// Throws ApplianceKilled if the hypervisor was killed.
  void refuse_if_killed(const char* op) const;
  /// Throws the reason why a call was stopped.
  /// @param message, number  what libguestfs said
  [[noreturn]] void fail(const char* op, const std::string& message, int number,
                         const std::vector<std::string>& console) const;

 private:
  std::string death() const;

  kind how_ = kind::none;
  clock::time_point kill_at_;
  named_limit exceeded_;
  std::string killed_;  // why; empty: it was not
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/turn/forced_end.ipp"
#endif
