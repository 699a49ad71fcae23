// Kinds of events, what one tells, and what takes it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM {

/// Kinds of events, as flags: Event::appliance | Event::library. See guestfs(3), "SETTING CALLBACKS TO
/// HANDLE EVENTS".
enum class Event : std::uint64_t {
  close = 1 << 0,            ///< the handle is being closed
  subprocess_quit = 1 << 1,  ///< the hypervisor has exited
  launch_done = 1 << 2,      ///< the appliance is up
  progress = 1 << 3,         ///< a long call is making progress: numbers are proc_nr, serial, position, total
  appliance = 1 << 4,        ///< console output of the appliance. Hostile text: escape it
  library = 1 << 5,          ///< debug lines of libguestfs (with set_verbose)
  trace = 1 << 6,            ///< calls and their results (with set_trace); may hold secrets
  enter = 1 << 7,            ///< a call begins: text is its name
  libvirt_auth = 1 << 8,     ///< libvirt wants a credential
  warning = 1 << 9,          ///< warnings from libguestfs
  all = (1 << 10) - 1,
};
constexpr Event operator|(Event a, Event b) noexcept {
  return static_cast<Event>(static_cast<std::uint64_t>(a) | static_cast<std::uint64_t>(b));
}
constexpr Event operator&(Event a, Event b) noexcept {
  return static_cast<Event>(static_cast<std::uint64_t>(a) & static_cast<std::uint64_t>(b));
}

/// One event. Its views are valid only while the callback runs.
struct EventMessage {
  Event event;                             ///< exactly one flag
  int registration;                        ///< its number: Subscription::number()
  std::string_view text;                   ///< bytes; empty where the event has none
  std::span<const std::uint64_t> numbers;  ///< progress events only
};

/// Runs inside the call that caused the event, on that call's thread. Be brief, do not call the daemon from
/// it (that ends the session), and do not close the handle. Exceptions from it are logged, not passed on.
using EventCallback = std::function<void(const EventMessage&)>;

}  // namespace guestkit::inline GUESTKIT_FORM
