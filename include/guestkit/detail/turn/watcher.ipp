#pragma once

#include "guestkit/detail/base/threads.hpp"
#include "guestkit/detail/turn/watcher.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// How long the thread stays when there is nothing to watch: calls tend to come in bursts.
inline constexpr std::chrono::seconds idle_watching{1};

GUESTKIT_INLINE void watcher::look_at(clock::time_point when, const char* op) {
  if (!runs_) start_thread(op, [this] { run(); });
  runs_ = true;
  if (when < wakes_at_) wakes_.notify_all();
}

GUESTKIT_INLINE void watcher::end(lock& held) {
  is_to_end_ = true;
  wakes_.notify_all();
  ended_.wait(held, [&] { return !runs_; });
}

/// Body of the thread.
GUESTKIT_INLINE void watcher::run() {
  lock held(mutex_);
  bool was_idle = false;
  while (!is_to_end_) {
    const auto next = look_(held);
    if (is_to_end_ || (!next && was_idle)) break;
    wakes_at_ = next.value_or(clock::now() + idle_watching);
    wakes_.wait_until(held, wakes_at_);
    was_idle = !next && clock::now() >= wakes_at_;
    wakes_at_ = {};
  }
  runs_ = false;
  ended_.notify_all();
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
