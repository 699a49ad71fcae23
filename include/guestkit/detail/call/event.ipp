#pragma once

#include "guestkit/detail/call/listeners.hpp"
#include "guestkit/event.hpp"

namespace guestkit::inline GUESTKIT_FORM {

GUESTKIT_INLINE Subscription::Subscription(const std::shared_ptr<detail::handle_state>& state, Event events,
                                           EventCallback callback)
    : state_(state), number_(detail::listen(state, events, std::move(callback))) {}

GUESTKIT_INLINE void Subscription::reset() noexcept {
  if (const auto state = state_.lock()) detail::end_listening(*state, number_);
  state_.reset();
}

}  // namespace guestkit::inline GUESTKIT_FORM
