#pragma once

#include <utility>

#include "guestkit/detail/base/seconds.hpp"
#include "guestkit/detail/turn/call_clock.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE void call_clock::begin(named_limit limit, std::optional<clock::time_point> since) {
  now_ = {.limit = limit};
  if (limit.time != no_limit) now_.deadline = since.value_or(clock::now()) + to_clock(limit.time);
}

GUESTKIT_INLINE std::optional<call_clock::clock::duration> call_clock::pause() {
  const auto deadline = std::exchange(now_.deadline, {});
  if (!deadline) return {};
  return *deadline - clock::now();
}

GUESTKIT_INLINE void call_clock::count_too(Seconds spent) {
  if (now_.deadline) *now_.deadline -= to_clock(spent);
}

GUESTKIT_INLINE bool call_clock::begin_part(double share) {
  if (!now_.deadline || around_part_) return false;
  around_part_ = now_;
  const Seconds left = *now_.deadline - clock::now();
  begin({left * share, now_.limit.name});
  return true;
}

GUESTKIT_INLINE void call_clock::end_part() noexcept {
  now_ = *std::exchange(around_part_, {});
}

GUESTKIT_INLINE void call_clock::begin_launch(named_limit limit, clock::time_point since) {
  around_launch_ = now_;
  if (limit.time == no_limit) return;
  if (!now_.deadline || since + to_clock(limit.time) < *now_.deadline) begin(limit, since);
}

GUESTKIT_INLINE void call_clock::end_launch() noexcept {
  now_ = *std::exchange(around_launch_, {});
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
