// A condition variable on the monotonic clock, without <condition_variable>, which brings the streams with
// it.
#pragma once

#include <pthread.h>
#include <time.h>

#include <mutex>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// As std::condition_variable, with a std::unique_lock<std::mutex>. Threads: any.
class condition {
 public:
  condition() noexcept {
    pthread_condattr_t attributes;
    ::pthread_condattr_init(&attributes);
    ::pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);  // that of steady_clock
    ::pthread_cond_init(&condition_, &attributes);
    ::pthread_condattr_destroy(&attributes);
  }
  condition(const condition&) = delete;
  condition& operator=(const condition&) = delete;
  ~condition() { ::pthread_cond_destroy(&condition_); }

  void notify_all() noexcept { ::pthread_cond_broadcast(&condition_); }

  template <class Done>
  void wait(auto& lock, Done done) {
    while (!done()) ::pthread_cond_wait(&condition_, lock.mutex()->native_handle());
  }

  /// Waits until then, until it is notified, or for no reason.
  template <class Clock, class Duration>
  void wait_until(auto& lock, const std::chrono::time_point<Clock, Duration>& time) {
    static_assert(Clock::is_steady);
    const auto since = std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
    const timespec when{.tv_sec = static_cast<time_t>(since / 1000000000),
                        .tv_nsec = static_cast<long>(since % 1000000000)};
    ::pthread_cond_timedwait(&condition_, lock.mutex()->native_handle(), &when);
  }

  /// Returns whether it is done by then.
  template <class Clock, class Duration, class Done>
  bool wait_until(auto& lock, const std::chrono::time_point<Clock, Duration>& time, Done done) {
    while (!done()) {
      if (Clock::now() >= time) return false;
      wait_until(lock, time);
    }
    return true;
  }

 private:
  pthread_cond_t condition_;
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail
