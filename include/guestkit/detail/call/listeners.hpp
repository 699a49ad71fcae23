// The callbacks registered for a handle's events, and the single one that libguestfs knows.
#pragma once

#include <guestfs.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/state/handle_state.hpp"
#include "guestkit/event_types.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// A registered callback.
struct listener {
  int number = 0;
  Event events{};
  EventCallback callback;
  std::recursive_mutex running;  // held while the callback runs, which may end its own registration
  bool ended = false;            // guarded by running
};

/// Registers the callback and returns its number, counted as libguestfs does. Does not wait for a running
/// call.
int listen(const std::shared_ptr<handle_state>& state, Event events, EventCallback callback);

/// Ends the registration with that number, and waits for its callback if it is running on another thread.
/// @return whether there was one
bool end_listening(handle_state& state, int number);

/// The callback that libguestfs calls for every event of a handle, whose state is opaque. There is one for
/// all listeners because libguestfs has only 1000 slots for callbacks and reuses only the last one.
void deliver(guestfs_h* h, void* opaque, std::uint64_t event, int event_handle, int flags, const char* text,
             std::size_t size, const std::uint64_t* numbers, std::size_t count) noexcept;

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/call/listeners.ipp"
#endif
