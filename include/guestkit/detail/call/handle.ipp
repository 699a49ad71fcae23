#pragma once

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <exception>
#include <optional>
#include <vector>

#include "guestkit/detail/base/seconds.hpp"
#include "guestkit/detail/base/threads.hpp"
#include "guestkit/detail/call/listeners.hpp"
#include "guestkit/detail/mount/local_mount.hpp"
#include "guestkit/handle.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

inline bool is_set(const char* variable) noexcept {
  const char* value = std::getenv(variable);
  return value != nullptr && *value != '\0';
}

inline void refuse_bad_limit(const char* name, Seconds limit) {
  if (!(limit.count() >= 0))  // nor is NaN
    throw Error("create", std::string("Limits::") + name + " is " + shown(limit) + "; it must be at least 0",
                EINVAL);
}

inline void refuse_bad_limits(const Limits& limits) {
  if (limits.launch) refuse_bad_limit("launch", *limits.launch);
  refuse_bad_limit("call", limits.call);
  refuse_bad_limit("close", limits.close);
  refuse_bad_limit("admission", limits.admission);
  refuse_bad_limit("cancel_grace", limits.cancel_grace);
  refuse_bad_limit("queue", limits.queue);
}

GUESTKIT_INLINE handle::handle(const HandleOptions& options) : state_(std::make_shared<handle_state>()) {
  auto& state = *state_;
  refuse_bad_limits(options.limits);
  state.output.log = options.log;
  state.output.log_level = options.log_level;
  state.h = create_c_handle();
  state.turns->h = state.h;
  state.turns->limits = options.limits;
  state.wishes = {
      .accel = options.accel,
      .tuning = options.tuning,
      .sandbox = options.sandbox,
      .appliance = options.appliance,
      .path = invoke<std::string>("create", guestfs_get_path).lift(),
      .hypervisor = invoke<std::string>("create", guestfs_get_hv).lift(),
      .memsize = invoke<int>("create", guestfs_get_memsize).lift(),
      .path_given = options.environment && is_set("LIBGUESTFS_PATH"),
      .hypervisor_given = options.environment && (is_set("LIBGUESTFS_HV") || is_set("LIBGUESTFS_QEMU"))};
  // Read the environment here: guestfs_create would only print a complaint about a bad variable to stderr.
  if (options.environment) read_environment();
  if (is_set("LIBGUESTFS_DEBUG"))
    state.output.verbose = invoke<bool>("get_verbose", guestfs_get_verbose).lift();
  if (is_set("LIBGUESTFS_TRACE")) state.output.traces = invoke<bool>("get_trace", guestfs_get_trace).lift();
  guestfs_set_event_callback(state.h, &deliver, GUESTFS_EVENT_ALL, 0, &state);
  const bool backend_given = is_set("LIBGUESTFS_BACKEND") || is_set("LIBGUESTFS_ATTACH_METHOD");
  if (!options.environment || !backend_given)
    invoke<void>("set_backend", guestfs_set_backend, cstr("direct"));
  if (state.output.wants(LogLevel::debug)) invoke<void>("set_trace", guestfs_set_trace, true);
  use_private_tmpdir(state_);
}

GUESTKIT_INLINE handle& handle::operator=(handle&& other) noexcept {
  if (this != &other) {
    finish();
    state_ = std::move(other.state_);
  }
  return *this;
}

GUESTKIT_INLINE void handle::close() {
  const auto state = state_;  // a callback of the close event may destroy this object
  if (!is_ours()) return;
  if (state->turns->is_mine())
    throw Error("close",
                "called from inside a call on this handle, by an event callback; close it afterwards",
                EDEADLK);
  end_mount(*state);
  if (!state->turns->begin_close([&] { end_mount(*state); })) return;
  state->end();
  if (state->output.wants(LogLevel::debug)) log(*state, LogLevel::debug, "close: the handle is closed");
  state->turns->end_close();
}

GUESTKIT_INLINE void handle::cancel() {
  const auto state = state_;
  if (!is_ours()) return;
  if (!state->turns->is_serving()) return state->turns->cancel();
  const auto unmount = [state] { end_mount(*state); };
  try {
    start_thread("cancel", unmount);
  } catch (const Error&) {  // no thread can be started
    unmount();
  }
}

GUESTKIT_INLINE void handle::terminate() {
  if (is_ours()) state_->turns->terminate();
}

GUESTKIT_INLINE guestfs_h* handle::native() const noexcept {
  if (!state_ || !is_open()) return nullptr;  // is_open() knows, but g++ 12 warns of a null pointer
  const std::lock_guard lock(state_->launches.mutex);
  state_->native_given = true;
  return state_->h;
}

GUESTKIT_INLINE void handle::cancel_transfer() {
  const auto state = state_;
  const call_scope scope(state, "user_cancel", false);
  state->turns->cancel_transfer();
}

GUESTKIT_INLINE void handle::finish() noexcept {
  const auto state = state_;
  try {
    close();
  } catch (const std::exception& e) {
    // Destroyed by its own callback: the last call still running on it frees it.
    log(*state, LogLevel::error, e.what());
  }
}

/// The environment without the values at which libguestfs stops reading it: empty variables, which count as
/// unset, and a runtime directory that does not exist, as after su or in a container.
inline string_list environment() {
  string_list variables;
  for (char** variable = environ; variable != nullptr && *variable != nullptr; ++variable) {
    const std::string_view text = *variable;
    constexpr std::string_view runtime = "XDG_RUNTIME_DIR=";
    if (text.find('=') == text.size() - 1) continue;
    if (text.starts_with(runtime) && ::access(*variable + runtime.size(), F_OK) != 0) continue;
    variables.emplace_back(*variable);
  }
  return variables;
}

/// Reads the settings from the environment. If libguestfs rejects one, throws an Error that begins with the
/// variable's name: libguestfs' own message names only the value, only the variable, or neither.
GUESTKIT_INLINE void handle::read_environment() {
  const auto variables = environment();
  const auto read = [&](const cstr_list& some) {
    invoke<void>("parse_environment", guestfs_parse_environment_list, some);
  };
  try {
    read(variables);
  } catch (const Error&) {
    for (const auto& variable : variables) try {
        read({variable});
      } catch (const Error& e) {
        if (e.message().starts_with(variable)) throw;
        throw Error(e.op(), variable + ": " + e.message(), e.error_number());
      }
    throw;
  }
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
