// A thread that looks at something when it is time to.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <utility>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Starts a thread once there is something to watch, which exits when there has been nothing for a while. The
/// owner's mutex guards all of it: hold that in each call.
class watcher {
 public:
  using clock = std::chrono::steady_clock;
  using lock = std::unique_lock<std::mutex>;
  /// What the thread does, with the lock held, which it may release meanwhile.
  /// @return when to look again; nothing: there is nothing to watch
  using look = std::function<std::optional<clock::time_point>(lock&)>;

  watcher(std::mutex& owners, look at) : mutex_(owners), look_(std::move(at)) {}
  watcher(const watcher&) = delete;
  watcher& operator=(const watcher&) = delete;

  /// Has the thread look at that time, or earlier. Throws Error if it must be started but cannot be.
  /// @param op  the call that needs it
  void look_at(clock::time_point when, const char* op);
  /// Ends the thread, and waits for that. The owner calls it before its end.
  void end(lock& held);

 private:
  void run();

  std::mutex& mutex_;
  look look_;
  std::condition_variable wakes_;  // the thread
  std::condition_variable ended_;  // it has
  clock::time_point wakes_at_;     // it is awake if this is past
  bool runs_ = false;
  bool is_to_end_ = false;
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/turn/watcher.ipp"
#endif
