#pragma once

#include <chrono>

#include "guestkit/detail/base/seconds.hpp"
#include "guestkit/detail/turn/waiting_line.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE waiting_line::wait_end waiting_line::wait(lock& held, Seconds limit, pid_t caller,
                                                          const std::function<bool()>& dismissed) {
  waiter mine{.caller = caller};
  waiting_.push_back(&mine);
  const auto over = [&] {
    return mine.is_withdrawn || (owner_ == 0 && waiting_.front() == &mine) || dismissed();
  };
  bool in_time = true;
  if (limit == no_limit)
    mine.wakes.wait(held, over);
  else
    in_time = mine.wakes.wait_until(held, std::chrono::steady_clock::now() + to_clock(limit), over);
  std::erase(waiting_, &mine);
  if (mine.is_withdrawn) return wait_end::withdrawn;
  return in_time ? wait_end::due : wait_end::too_late;
}

GUESTKIT_INLINE bool waiting_line::withdraw(pid_t caller) noexcept {
  for (auto* const each : waiting_) {
    if (each->caller != caller) continue;
    each->is_withdrawn = true;
    each->wakes.notify_one();
    return true;
  }
  return false;
}

GUESTKIT_INLINE void waiting_line::wake_all() noexcept {
  for (auto* const each : waiting_) each->wakes.notify_one();
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
