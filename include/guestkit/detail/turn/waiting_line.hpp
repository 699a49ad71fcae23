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
  /// The thread whose call that is: another one if that waits for its result; 0: none.
  pid_t caller() const noexcept { return caller_; }
  /// How often it has taken it.
  unsigned depth() const noexcept { return depth_; }
  /// Counts the turns.
  std::uint64_t number() const noexcept { return number_; }

  /// Why a wait ended.
  enum class wait_end { due, too_late, withdrawn };
  /// Waits until the turn is free and nobody has waited longer.
  /// @param caller     the thread whose call waits
  /// @param dismissed  whether nobody is to wait any more: see wake_all()
  wait_end wait(lock& held, Seconds limit, pid_t caller, const std::function<bool()>& dismissed);
  /// Ends the wait of that thread's call. Returns false if it does not wait.
  bool withdraw(pid_t caller) noexcept;
  bool is_free() const noexcept { return owner_ == 0 && waiting_.empty(); }

  /// Begins a turn of the thread.
  void begin(pid_t thread, pid_t caller) noexcept {
    owner_ = thread;
    caller_ = caller;
    ++number_;
  }
  void end() noexcept { owner_ = caller_ = 0; }
  /// Takes the turn again.
  void take() noexcept { ++depth_; }
  /// Ends the turn if nothing else took it.
  void leave() noexcept {
    if (--depth_ == 0) end();
  }

  /// Wakes the first that waits, if the turn is free.
  void wake_first() noexcept {
    if (owner_ == 0 && !waiting_.empty()) waiting_.front()->wakes.notify_one();
  }
  void wake_all() noexcept;

 private:
  struct waiter {
    pid_t caller;
    std::condition_variable wakes = {};
    bool is_withdrawn = false;
  };

  pid_t owner_ = 0;
  pid_t caller_ = 0;
  unsigned depth_ = 0;
  std::uint64_t number_ = 0;
  std::deque<waiter*> waiting_;  // in the order in which they came
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/turn/waiting_line.ipp"
#endif
