#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <utility>

#include "guestkit/detail/base/threads.hpp"
#include "guestkit/detail/call/event_relay.hpp"
#include "guestkit/detail/state/handle_state.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Shared with the other thread, which outlives the relay until it has delivered all.
struct event_relay::queue {
  explicit queue(std::shared_ptr<handle_state> given) : state(std::move(given)) {}

  void run() {
    std::unique_lock lock(mutex);
    for (;;) {
      changed.wait(lock, [&] { return ended || !waiting.empty(); });
      if (waiting.empty()) return;
      const auto next = std::move(waiting.front());
      waiting.pop_front();
      lock.unlock();
      next(*state);
      lock.lock();
    }
  }

  static constexpr std::size_t most = 1000;
  const std::shared_ptr<handle_state> state;
  std::mutex mutex;  // guards the rest
  std::condition_variable changed;
  std::deque<std::function<void(handle_state&)>> waiting;
  bool has_thread = false;
  bool ended = false;
};

GUESTKIT_INLINE const event_relay*& event_relay::mine() noexcept {
  static thread_local constinit const event_relay* relay = nullptr;
  return relay;
}

GUESTKIT_INLINE event_relay::event_relay(std::shared_ptr<handle_state> state)
    : queue_(std::make_shared<queue>(std::move(state))) {
  mine() = this;
}

GUESTKIT_INLINE event_relay::~event_relay() {
  mine() = nullptr;
  const std::lock_guard lock(queue_->mutex);
  queue_->ended = true;
  queue_->changed.notify_all();
}

GUESTKIT_INLINE const event_relay* event_relay::of_this_thread() noexcept {
  return mine();
}

GUESTKIT_INLINE void event_relay::post(std::function<void(handle_state&)> delivery) const {
  const std::lock_guard lock(queue_->mutex);
  if (queue_->waiting.size() >= queue::most) return;
  if (!queue_->has_thread) start_thread("event", [kept = queue_] { kept->run(); });
  queue_->has_thread = true;
  queue_->waiting.push_back(std::move(delivery));
  queue_->changed.notify_all();
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
