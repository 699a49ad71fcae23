// How long a call may take, a part of it, and a launch inside it.
#pragma once

#include <chrono>
#include <optional>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/generated/failure.hpp"
#include "guestkit/limits.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// A limit of time, and what users call it.
struct named_limit {
  Seconds time = no_limit;
  const char* name = "";
  Cause cause = Cause::unknown;  // of the error of a call that exceeds it
};

/// The clock of a handle's running call. Threads: turns guards it.
class call_clock {
 public:
  using clock = std::chrono::steady_clock;

  /// Begins a call. Without a limit it does not even ask for the time: most calls have none.
  /// @param since  when its time began; nothing: now
  void begin(named_limit limit, std::optional<clock::time_point> since = {});
  void end() noexcept { now_.deadline.reset(); }

  /// When the time is over of what runs now: the call, a part of it or a launch. Nothing: never.
  const std::optional<clock::time_point>& deadline() const noexcept { return now_.deadline; }
  /// How long that may take.
  named_limit limit() const noexcept { return now_.limit; }

  /// Stops the clock. Returns the time that is left; nothing: the clock did not run.
  std::optional<clock::duration> pause();
  void resume(clock::duration left) { now_.deadline = clock::now() + left; }
  /// Shortens the time that is left.
  void count_too(Seconds spent);

  /// Begins a part, which may use that share of the time that is left. Returns whether it has a limit: it has
  /// none if the call has none, and inside another part it has that one's.
  bool begin_part(double share);
  void end_part() noexcept;
  bool is_in_part() const noexcept { return around_part_.has_value(); }

  /// Begins a launch inside the call, which may not take longer than the call, either.
  /// @param since  when the time of the launch began
  void begin_launch(named_limit limit, clock::time_point since);
  void end_launch() noexcept;

 private:
  struct span {
    named_limit limit = {};
    std::optional<clock::time_point> deadline = {};
  };

  span now_;                           // what runs
  std::optional<span> around_part_;    // the call, while a part of it runs
  std::optional<span> around_launch_;  // the call or its part, while a launch runs inside
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/turn/call_clock.ipp"
#endif
