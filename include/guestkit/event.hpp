// Events of a handle: what libguestfs tells while a call runs.
#pragma once

#include <guestfs.h>

#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/call/call.hpp"

namespace guestkit::inline GUESTKIT_FORM {

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

template <class T>
void log(const basic_handle_state<T>& state, LogLevel level, const std::string& line) noexcept {
  try {
    if (state.wants(level))
      state.log(level, line);
    else if (!state.log && level >= LogLevel::warning)
      std::fprintf(stderr, "guestkit: %s\n", line.c_str());
  } catch (...) {  // a log line is not worth an exception
  }
}

/// The credential of set_libvirt_requested_credential is the one that libguestfs does not hide in a trace.
inline std::string hide_credential(std::string_view line) {
  constexpr std::string_view action = "set_libvirt_requested_credential ";
  const bool call = line.starts_with(action) && !line.starts_with(std::string(action) + "= ");
  return call ? std::string(action) + "***" : std::string(line);
}

/// Keeps what the appliance and libguestfs write, for the errors, and passes it on: to guestkit's log if that
/// wants debug lines, else, where nobody listens, to stderr as libguestfs would have.
template <class T>
void keep_console(basic_handle_state<T>& state, std::uint64_t event, std::string_view text,
                  bool listened) noexcept {
  try {
    std::vector<std::string> lines;
    if (event == GUESTFS_EVENT_TRACE)
      lines.push_back(state.console.redacted(hide_credential(text)));
    else if (event == GUESTFS_EVENT_APPLIANCE)
      lines = state.console.add(text);
    else
      lines = state.console.add_line(text);
    if (event == GUESTFS_EVENT_APPLIANCE)
      for (const auto& whole : lines)
        if (whole.starts_with(warm::verdict_prefix)) {
          const std::lock_guard lock(state.launch_mutex);
          state.verdict = whole.substr(warm::verdict_prefix.size());
        }
    const bool warning = event == GUESTFS_EVENT_WARNING;
    if (state.wants(LogLevel::debug)) {
      const char* source = event == GUESTFS_EVENT_APPLIANCE ? "appliance: " : "libguestfs: ";
      for (const auto& whole : lines)
        log(state, warning ? LogLevel::warning : LogLevel::debug,
            source + (event_prefix(event) + printable(whole)));
      return;
    }
    if (event == GUESTFS_EVENT_TRACE ? !state.traces : !warning && !state.verbose) return;
    if (!listened) print_event(event, text);
  } catch (...) {  // no memory for the line: it is lost
  }
}

/// A registered callback.
template <class T>
struct basic_listener {
  Event events{};
  EventCallback callback;
  std::recursive_mutex running;  // held while the callback runs, which may end its own registration
  bool ended = false;            // guarded by running
};

/// Registers the callback; returns its number, counted as libguestfs does. Does not wait for a call that runs
/// on the handle.
template <class T>
int listen(const std::shared_ptr<basic_handle_state<T>>& state, Event events, EventCallback callback) {
  const basic_call_scope<T> open(state, "set_event_callback", false);
  const auto added = std::make_shared<basic_listener<T>>();
  added->events = events;
  std::swap(added->callback, callback);
  const std::lock_guard lock(state->listeners_mutex);
  const int number = state->listeners.empty() ? 0 : state->listeners.rbegin()->first + 1;
  state->listeners.emplace(number, added);
  state->listened |= static_cast<std::uint64_t>(events);
  return number;
}

/// Ends the registration of that number and waits for its callback if that runs on another thread.
/// @return whether there was one
template <class T>
bool end_listening(basic_handle_state<T>& state, int number) {
  if (state.generation != fork_generation()) return false;  // the mutexes are as the fork found them
  std::unique_lock lock(state.listeners_mutex);
  const auto node = state.listeners.extract(number);
  if (node.empty()) return false;
  std::uint64_t left = 0;
  for (const auto& [_, other] : state.listeners) left |= static_cast<std::uint64_t>(other->events);
  state.listened = left;
  lock.unlock();
  const std::lock_guard over(node.mapped()->running);
  node.mapped()->ended = true;
  return true;
}

/// The one callback that libguestfs knows of: it has places for 1000 and takes back only the last of them.
template <class T>
void deliver(guestfs_h*, void* opaque, std::uint64_t event, int, int, const char* text, std::size_t size,
             const std::uint64_t* numbers, std::size_t count) noexcept {
  auto& state = *static_cast<basic_handle_state<T>*>(opaque);
  const bool listened = (state.listened & event) != 0;
  if (event == GUESTFS_EVENT_SUBPROCESS_QUIT) state.disks_gone = true;
  constexpr auto console =
      GUESTFS_EVENT_APPLIANCE | GUESTFS_EVENT_LIBRARY | GUESTFS_EVENT_TRACE | GUESTFS_EVENT_WARNING;
  if ((event & console) != 0) keep_console(state, event, {text, size}, listened);
  for (int number = -1; listened;) {  // step by step: a callback may begin and end registrations
    std::shared_ptr<basic_listener<T>> next;
    {
      const std::lock_guard lock(state.listeners_mutex);
      const auto found = state.listeners.upper_bound(number);
      if (found == state.listeners.end()) return;
      std::tie(number, next) = *found;
    }
    const std::lock_guard running(next->running);
    if (next->ended || (next->events & static_cast<Event>(event)) == Event{}) continue;
    try {
      next->callback({static_cast<Event>(event), number, {text, size}, {numbers, count}});
    } catch (const std::exception& e) {
      log(state, LogLevel::error, std::string("an event callback threw: ") + e.what());
    } catch (...) {
      log(state, LogLevel::error, "an event callback threw something that is no std::exception");
    }
  }
}

}  // namespace detail

/// A registered callback; its end ends the registration. May outlive the handle.
template <class T = void>
class [[nodiscard]] basic_subscription {
 public:
  basic_subscription() = default;
  basic_subscription(const std::shared_ptr<detail::basic_handle_state<T>>& state, Event events,
                     EventCallback callback)
      : state_(state), number_(detail::listen(state, events, std::move(callback))) {}
  basic_subscription(basic_subscription&& other) noexcept = default;
  basic_subscription& operator=(
      basic_subscription other) noexcept {  // which takes the old registration to its end
    std::swap(state_, other.state_);
    std::swap(number_, other.number_);
    return *this;
  }
  ~basic_subscription() { reset(); }

  /// The number of this registration on its handle, as its events carry it; -1 if there is none.
  int number() const noexcept { return state_.expired() ? -1 : number_; }

  /// Ends the registration now: the callback runs no more when this returns, unless it is the callback that
  /// calls it. Waits for the callback if another thread is in it. Harmless when it has ended.
  void reset() noexcept {
    if (const auto state = state_.lock()) detail::end_listening(*state, number_);
    state_.reset();
  }

 private:
  std::weak_ptr<detail::basic_handle_state<T>> state_;
  int number_ = -1;
};
using Subscription = basic_subscription<>;

}  // namespace guestkit::inline GUESTKIT_FORM
