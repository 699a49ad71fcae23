// Who has the turn on a handle, and who waits for it.
#pragma once

#include <sys/types.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/limits.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// One thread has the turn, and may take it again while it has it. The others get it in the order in which
/// they came: without an order a thread that makes one call after the other would take it back each time
/// before any other thread wakes. The owner's mutex guards all of it: hold that in each call.
class waiting_line {
 public:
  using lock = std::unique_lock<std::mutex>;

  /// The thread that has the turn; 0: none.
  pid_t owner() const noexcept { return owner_; }
  /// How often it has taken it.
  unsigned depth() const noexcept { return depth_; }
  /// Counts the turns.
  std::uint64_t number() const noexcept { return number_; }

  /// Waits until the turn is free and nobody has waited longer.
  /// @param dismissed  whether nobody is to wait any more: see wake_all()
  /// @return whether it came to that within the limit
  bool wait(lock& held, Seconds limit, const std::function<bool()>& dismissed);
  bool is_free() const noexcept { return owner_ == 0 && waiting_.empty(); }

  /// Begins a turn of the thread.
  void begin(pid_t thread) noexcept {
    owner_ = thread;
    ++number_;
  }
  void end() noexcept { owner_ = 0; }
  /// Takes the turn again.
  void take() noexcept { ++depth_; }
  /// Ends the turn if nothing else took it.
  void leave() noexcept {
    if (--depth_ == 0) end();
  }

  /// Wakes the first that waits, if the turn is free.
  void wake_first() noexcept {
    if (owner_ == 0 && !waiting_.empty()) waiting_.front()->notify_one();
  }
  void wake_all() noexcept;

 private:
  pid_t owner_ = 0;
  unsigned depth_ = 0;
  std::uint64_t number_ = 0;
  std::deque<std::condition_variable*> waiting_;  // wakes each, in the order in which they came
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/turn/waiting_line.ipp"
#endif
