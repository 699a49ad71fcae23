// Events of a handle: what libguestfs tells while a call runs.
#pragma once

#include <guestfs.h>

#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "call.hpp"

namespace guestkit {

/// Kinds of events, as flags: Event::appliance | Event::library. See guestfs(3), "SETTING CALLBACKS TO
/// HANDLE EVENTS".
enum class Event : std::uint64_t {
  close = 1 << 0,            ///< the handle is being closed
  subprocess_quit = 1 << 1,  ///< the hypervisor has ended
  launch_done = 1 << 2,      ///< the appliance is up
  progress = 1 << 3,         ///< a long call goes on: numbers are proc_nr, serial, position, total
  appliance = 1 << 4,        ///< console output of the appliance: hostile text, escape it
  library = 1 << 5,          ///< debug lines of libguestfs (with set_verbose)
  trace = 1 << 6,            ///< calls and their results (with set_trace); may hold secrets
  enter = 1 << 7,            ///< a call begins: its name
  libvirt_auth = 1 << 8,     ///< libvirt wants a credential
  warning = 1 << 9,          ///< warnings of libguestfs
  all = (1 << 10) - 1,
};
constexpr Event operator|(Event a, Event b) noexcept {
  return static_cast<Event>(static_cast<std::uint64_t>(a) | static_cast<std::uint64_t>(b));
}
constexpr Event operator&(Event a, Event b) noexcept {
  return static_cast<Event>(static_cast<std::uint64_t>(a) & static_cast<std::uint64_t>(b));
}

/// One event. The views live as long as the callback runs.
struct EventMessage {
  Event event;                             ///< exactly one flag
  int handle;                              ///< number of the registration: Subscription::number()
  std::string_view text;                   ///< bytes; empty where the event has none
  std::span<const std::uint64_t> numbers;  ///< of progress events
};

/// Runs on the thread of the call that caused the event, inside that call: be short, do not call the
/// daemon from it (that ends the session), do not close the handle. What it throws is logged, not passed on.
using EventCallback = std::function<void(const EventMessage&)>;

namespace detail {

inline void log(const handle_state& state, LogLevel level, const std::string& line) noexcept {
  try {
    if (state.wants(level))
      state.log(level, line);
    else if (!state.log && level >= LogLevel::warning)
      std::fprintf(stderr, "guestkit: %s\n", line.c_str());
  } catch (...) {  // a log line is not worth an exception
  }
}

struct listener : std::enable_shared_from_this<listener> {
  handle_state* state = nullptr;
  Event events{};
  EventCallback callback;
  int id = -1;  // libguestfs' number

  /// What callers see as the registration's number: libguestfs' own 0 is guestkit's, see keep_console().
  static int number(int id) noexcept { return id - 1; }

  static void deliver(guestfs_h*, void* opaque, std::uint64_t event, int id, int, const char* text,
                      std::size_t text_size, const std::uint64_t* numbers, std::size_t count) noexcept {
    // A callback may delete its own registration: it lives until it has returned.
    const auto self = static_cast<listener*>(opaque)->shared_from_this();
    try {
      self->callback({static_cast<Event>(event), number(id), {text, text_size}, {numbers, count}});
    } catch (const std::exception& e) {
      log(*self->state, LogLevel::error, std::string("an event callback threw: ") + e.what());
    } catch (...) {
      log(*self->state, LogLevel::error, "an event callback threw something that is no std::exception");
    }
  }
};

/// The credential of set_libvirt_requested_credential is the one that libguestfs does not hide in a trace.
inline std::string hide_credential(std::string_view line) {
  constexpr std::string_view action = "set_libvirt_requested_credential ";
  const bool call = line.starts_with(action) && !line.starts_with(std::string(action) + "= ");
  return call ? std::string(action) + "***" : std::string(line);
}

/// Keeps what the appliance and libguestfs write, for the errors, and passes it on: to guestkit's log if that
/// wants debug lines, else, where nobody else listens, to stderr as libguestfs would have.
inline void keep_console(guestfs_h*, void* opaque, std::uint64_t event, int, int, const char* text,
                         std::size_t size, const std::uint64_t*, std::size_t) noexcept {
  auto& state = *static_cast<handle_state*>(opaque);
  try {
    const std::string_view line(text, size);
    std::vector<std::string> lines;
    if (event == GUESTFS_EVENT_TRACE)
      lines.push_back(state.console.redacted(hide_credential(line)));
    else if (event == GUESTFS_EVENT_APPLIANCE)
      lines = state.console.add(line);
    else
      lines = state.console.add_line(line);
    const bool warning = event == GUESTFS_EVENT_WARNING;
    if (state.wants(LogLevel::debug)) {
      const char* source = event == GUESTFS_EVENT_APPLIANCE ? "appliance: " : "libguestfs: ";
      for (const auto& whole : lines)
        log(state, warning ? LogLevel::warning : LogLevel::debug,
            source + (event_prefix(event) + printable(whole)));
      return;
    }
    if (event == GUESTFS_EVENT_TRACE ? !state.traces : !warning && !state.verbose) return;
    const std::lock_guard lock(state.listeners_mutex);
    for (const auto& listener : state.listeners)
      if ((listener->events & static_cast<Event>(event)) != Event{}) return;
    print_event(event, line);
  } catch (...) {  // no memory for the line: it is lost
  }
}

}  // namespace detail

/// A registered callback; its end ends the registration. Waits for a call that is running on the handle.
/// May outlive the handle.
class [[nodiscard]] Subscription {
 public:
  Subscription() = default;
  Subscription(const std::shared_ptr<detail::handle_state>& state, Event events, EventCallback callback)
      : state_(state), listener_(std::make_shared<detail::listener>()) {
    detail::call_scope scope(state, "set_event_callback");
    listener_->state = state.get();
    listener_->events = events;
    listener_->callback = std::move(callback);
    {
      const std::lock_guard lock(state->listeners_mutex);
      state->listeners.push_back(listener_);
    }
    listener_->id = guestfs_set_event_callback(scope.h(), &detail::listener::deliver,
                                               static_cast<std::uint64_t>(events), 0, listener_.get());
    if (listener_->id == -1) {
      forget(*state);
      scope.fail();
    }
  }
  Subscription(Subscription&& other) noexcept = default;
  Subscription& operator=(Subscription&& other) noexcept {
    if (this != &other) {
      reset();
      state_ = std::move(other.state_);
      listener_ = std::move(other.listener_);
    }
    return *this;
  }
  ~Subscription() { reset(); }

  /// The number of this registration on its handle, as its events carry it; -1 if there is none.
  int number() const noexcept { return listener_ ? detail::listener::number(listener_->id) : -1; }

  /// Ends the registration now. Harmless when it has ended or the handle is closed.
  void reset() noexcept {
    if (const auto state = state_.lock()) try {
        detail::call_scope scope(state, "delete_event_callback");
        guestfs_delete_event_callback(scope.h(), listener_->id);
        forget(*state);
      } catch (const Error&) {  // closed: the registration went with the handle
      }
    state_.reset();
    listener_.reset();
  }

 private:
  void forget(detail::handle_state& state) {
    const std::lock_guard lock(state.listeners_mutex);
    std::erase(state.listeners, listener_);
  }

  std::weak_ptr<detail::handle_state> state_;
  std::shared_ptr<detail::listener> listener_;
};

}  // namespace guestkit
