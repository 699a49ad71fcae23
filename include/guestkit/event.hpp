// Events of a handle: what libguestfs reports while a call runs.
#pragma once

#include <memory>
#include <utility>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/event_types.hpp"

namespace guestkit::inline GUESTKIT_FORM {

namespace detail {
struct handle_state;
}

/// A registered callback. The destructor ends the registration. May outlive the handle.
class [[nodiscard]] Subscription {
 public:
  Subscription() = default;
  Subscription(const std::shared_ptr<detail::handle_state>& state, Event events, EventCallback callback);
  Subscription(Subscription&& other) noexcept = default;
  Subscription& operator=(Subscription other) noexcept {  // the old registration ends with `other`
    std::swap(state_, other.state_);
    std::swap(number_, other.number_);
    return *this;
  }
  ~Subscription() { reset(); }

  /// The number of this registration on its handle, as in EventMessage::registration; -1 if there is none.
  int number() const noexcept { return state_.expired() ? -1 : number_; }

  /// Ends the registration now: once this returns, the callback does not run again, unless the callback
  /// itself made this call. Waits if the callback is running on another thread. Harmless if the registration
  /// has already ended.
  void reset() noexcept;

 private:
  std::weak_ptr<detail::handle_state> state_;
  int number_ = -1;
};

}  // namespace guestkit::inline GUESTKIT_FORM

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/call/event.ipp"
#endif
