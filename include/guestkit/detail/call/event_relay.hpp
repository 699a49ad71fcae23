// Callbacks of events for a thread that must not run them itself.
//
// The thread that serves a mounted directory is one: a callback that uses the directory, or waits for a
// thread that does, would wait for ever.
#pragma once

#include <functional>
#include <memory>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

struct handle_state;

/// While it lives, the callbacks of the calling thread's events run on another thread, in their order.
class event_relay {
 public:
  explicit event_relay(std::shared_ptr<handle_state> state);
  event_relay(const event_relay&) = delete;
  event_relay& operator=(const event_relay&) = delete;
  ~event_relay();

  /// Null: the calling thread runs its callbacks itself.
  static const event_relay* of_this_thread() noexcept;

  /// Has the other thread do it. Does not wait; it is dropped if too many wait already.
  void post(std::function<void(handle_state&)> delivery) const;

 private:
  struct queue;
  static const event_relay*& mine() noexcept;

  std::shared_ptr<queue> queue_;
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/call/event_relay.ipp"
#endif
