#pragma once

#include <chrono>

#include "guestkit/detail/base/seconds.hpp"
#include "guestkit/detail/turn/waiting_line.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE bool waiting_line::wait(lock& held, Seconds limit, const std::function<bool()>& dismissed) {
  std::condition_variable wakes;
  waiting_.push_back(&wakes);
  const auto over = [&] { return (owner_ == 0 && waiting_.front() == &wakes) || dismissed(); };
  bool in_time = true;
  if (limit == no_limit)
    wakes.wait(held, over);
  else
    in_time = wakes.wait_until(held, std::chrono::steady_clock::now() + to_clock(limit), over);
  std::erase(waiting_, &wakes);
  return in_time;
}

GUESTKIT_INLINE void waiting_line::wake_all() noexcept {
  for (auto* const each : waiting_) each->notify_one();
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
