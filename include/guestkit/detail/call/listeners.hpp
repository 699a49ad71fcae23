// The callbacks that are registered for a handle's events, and the one that libguestfs knows of.
#pragma once

#include <guestfs.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/call/handle_state.hpp"

namespace guestkit::inline GUESTKIT_FORM {

// Of event.hpp, whose bodies need this header.
enum class Event : std::uint64_t;
struct EventMessage;
using EventCallback = std::function<void(const EventMessage&)>;

namespace detail {

/// A registered callback.
struct listener {
  Event events{};
  EventCallback callback;
  std::recursive_mutex running;  // held while the callback runs, which may end its own registration
  bool ended = false;            // guarded by running
};

/// Registers the callback; returns its number, counted as libguestfs does. Does not wait for a call that runs
/// on the handle.
int listen(const std::shared_ptr<handle_state>& state, Event events, EventCallback callback);

/// Ends the registration of that number and waits for its callback if that runs on another thread.
/// @return whether there was one
bool end_listening(handle_state& state, int number);

/// What libguestfs calls for every event of a handle, whose state is opaque. One for all, since libguestfs
/// has places for 1000 callbacks and takes back only the last of them.
void deliver(guestfs_h* h, void* opaque, std::uint64_t event, int event_handle, int flags, const char* text,
             std::size_t size, const std::uint64_t* numbers, std::size_t count) noexcept;

}  // namespace detail
}  // namespace guestkit::inline GUESTKIT_FORM

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/call/listeners.ipp"
#endif
