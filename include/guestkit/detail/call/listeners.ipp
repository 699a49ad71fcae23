#pragma once

#include <exception>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "guestkit/detail/call/call.hpp"
#include "guestkit/detail/call/event_relay.hpp"
#include "guestkit/detail/call/listeners.hpp"
#include "guestkit/detail/state/verdict.hpp"
#include "guestkit/detail/turn/callback_time.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// libguestfs hides secrets in its traces, except for the credential of set_libvirt_requested_credential.
inline std::string hide_credential(std::string_view line) {
  constexpr std::string_view action = "set_libvirt_requested_credential ";
  const bool call = line.starts_with(action) && !line.starts_with(std::string(action) + "= ");
  return call ? std::string(action) + "***" : std::string(line);
}

inline constexpr std::uint64_t console_events =
    GUESTFS_EVENT_APPLIANCE | GUESTFS_EVENT_LIBRARY | GUESTFS_EVENT_TRACE | GUESTFS_EVENT_WARNING;

/// Keeps the output of the appliance and libguestfs for error reports and passes it on: to guestkit's log if
/// that accepts debug lines; otherwise, if nobody listens, to stderr as libguestfs would have done.
inline void keep_console(handle_state& state, std::uint64_t event, std::string_view text,
                         bool listened) noexcept {
  try {
    const bool trace = event == GUESTFS_EVENT_TRACE;
    std::vector<std::string> lines;
    if (trace)
      lines.push_back(state.output.console.redacted(hide_credential(text)));
    else if (event == GUESTFS_EVENT_APPLIANCE)
      lines = state.output.console.add(text);
    else
      lines = state.output.console.add_line(text);
    if (event == GUESTFS_EVENT_APPLIANCE)
      for (const auto& whole : lines) {
        if (!whole.starts_with(warm::verdict_prefix)) continue;
        const std::lock_guard lock(state.launches.mutex);
        if (warm::is_verdict(whole, state.launches.verdict))
          state.launches.verdict = whole.substr(warm::verdict_prefix.size());
      }
    const bool warning = event == GUESTFS_EVENT_WARNING;
    if (state.output.wants(LogLevel::debug)) {
      const char* source = event == GUESTFS_EVENT_APPLIANCE ? "appliance: " : "libguestfs: ";
      for (const auto& whole : lines)
        log(state, warning ? LogLevel::warning : LogLevel::debug,
            source + (event_prefix(event) + printable(whole)));
      return;
    }
    if (trace ? !state.output.traces : !warning && !state.output.verbose) return;
    if (listened) return;
    print_event(event, trace ? lines.front() : state.output.console.redacted(std::string(text)));
  } catch (...) {  // no memory for the line: it is lost
  }
}

GUESTKIT_INLINE int listen(const std::shared_ptr<handle_state>& state, Event events, EventCallback callback) {
  const call_scope open(state, "set_event_callback", false);
  const auto added = std::make_shared<listener>();
  added->events = events;
  added->callback = std::move(callback);
  const std::lock_guard lock(state->listeners.mutex);
  if (!state->listeners.all.empty()) added->number = state->listeners.all.back()->number + 1;
  state->listeners.all.push_back(added);
  state->listeners.events |= static_cast<std::uint64_t>(events);
  return added->number;
}

GUESTKIT_INLINE bool end_listening(handle_state& state, int number) {
  if (!state.is_ours()) return false;  // after a fork the mutexes may be locked for ever
  std::shared_ptr<listener> ended;
  {
    const std::lock_guard lock(state.listeners.mutex);
    std::vector<std::shared_ptr<listener>> others;
    std::uint64_t listened = 0;
    for (const auto& each : state.listeners.all) {
      if (each->number == number) {
        ended = each;
        continue;
      }
      others.push_back(each);
      listened |= static_cast<std::uint64_t>(each->events);
    }
    state.listeners.all.swap(others);
    state.listeners.events = listened;
  }
  if (!ended) return false;
  const std::lock_guard over(ended->running);
  ended->ended = true;
  return true;
}

/// The first listener whose number is at least that; null if there is none.
inline std::shared_ptr<listener> listener_from(handle_state& state, int number) {
  const std::lock_guard lock(state.listeners.mutex);
  for (const auto& each : state.listeners.all)
    if (each->number >= number) return each;
  return nullptr;
}

inline void complain_of_callback(handle_state& state, const char* what) noexcept {
  try {
    log(state, LogLevel::error, std::string("an event callback threw: ") + what);
  } catch (const std::exception&) {  // no memory for the line, which may be what it threw
    log(state, LogLevel::error, what);
  }
}

/// Passes an event on to the console, the log and the listeners.
inline void pass_on(handle_state& state, std::uint64_t event, std::string_view text,
                    std::span<const std::uint64_t> numbers) noexcept {
  const bool listened = (state.listeners.events & event) != 0;
  if ((event & console_events) != 0) keep_console(state, event, text, listened);
  if (!listened) return;
  // One at a time: a callback may begin and end registrations.
  for (auto next = listener_from(state, 0); next; next = listener_from(state, next->number + 1)) {
    const std::lock_guard running(next->running);
    if (next->ended || (next->events & static_cast<Event>(event)) == Event{}) continue;
    try {
      const callback_time time(*state.turns);
      next->callback({static_cast<Event>(event), next->number, text, numbers});
    } catch (const std::exception& e) {
      complain_of_callback(state, e.what());
    } catch (...) {
      complain_of_callback(state, "something that is no std::exception");
    }
  }
}

GUESTKIT_INLINE void deliver(guestfs_h*, void* opaque, std::uint64_t event, int, int, const char* text,
                             std::size_t size, const std::uint64_t* numbers, std::size_t count) noexcept {
  auto& state = *static_cast<handle_state*>(opaque);
  if (event == GUESTFS_EVENT_SUBPROCESS_QUIT) state.machine.disks_gone = true;
  const auto* const relay = event_relay::of_this_thread();
  if (relay == nullptr) return pass_on(state, event, {text, size}, {numbers, count});
  if ((state.listeners.events & event) == 0 && (event & console_events) == 0) return;
  try {
    relay->post([event, message = std::string(text, size), kept = std::vector(numbers, numbers + count)](
                    handle_state& same) { pass_on(same, event, message, kept); });
  } catch (...) {  // no memory or no thread: the event is lost
  }
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
