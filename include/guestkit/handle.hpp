// The handle: creating and closing it, what it is made with.
#pragma once

#include <guestfs.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "call.hpp"
#include "event.hpp"
#include "host.hpp"

namespace guestkit {

/// Who runs the appliance's processor.
enum class Accel {
  automatic,  ///< KVM where it works, else TCG, with one log line
  kvm,        ///< KVM or a failed launch
  tcg,        ///< emulation: works everywhere, several times slower
};

/// What a handle is made with.
struct HandleOptions {
  /// Take LIBGUESTFS_* and TMPDIR from the environment: guestfs(3), "ENVIRONMENT VARIABLES".
  bool environment = true;
  Accel accel = Accel::automatic;
  /// Where guestkit's own log lines go; warnings and errors go to stderr if it is empty.
  LogSink log = {};
  /// The least that the log takes. With debug it gets what libguestfs traces and what the appliance writes,
  /// which then does not go to stderr; secrets are replaced by ***.
  LogLevel log_level = LogLevel::info;
};

namespace detail {

/// guestfs_h and the rules of its life. Move-only; the actions are in generated/actions.hpp.
class handle {
 public:
  explicit handle(const HandleOptions& options = {})
      : state_(std::make_shared<handle_state>()), accel_(options.accel) {
    state_->log = options.log;
    state_->log_level = options.log_level;
    // Not closed by libguestfs at exit: it would run callbacks into a program that is half gone.
    state_->h = guestfs_create_flags(GUESTFS_CREATE_NO_ENVIRONMENT | GUESTFS_CREATE_NO_CLOSE_ON_EXIT);
    if (state_->h == nullptr) throw Error("create", "", errno);
    // The environment here, not by guestfs_create: there a bad variable is only printed to stderr.
    if (options.environment)
      invoke<void>("parse_environment", guestfs_parse_environment_list, cstr_list(environment()));
    if (is_set("LIBGUESTFS_DEBUG")) state_->verbose = invoke<bool>("get_verbose", guestfs_get_verbose).lift();
    if (is_set("LIBGUESTFS_TRACE")) state_->traces = invoke<bool>("get_trace", guestfs_get_trace).lift();
    constexpr auto console =
        GUESTFS_EVENT_APPLIANCE | GUESTFS_EVENT_LIBRARY | GUESTFS_EVENT_TRACE | GUESTFS_EVENT_WARNING;
    guestfs_set_event_callback(state_->h, &keep_console, console, 0, state_.get());
    const bool backend_given = is_set("LIBGUESTFS_BACKEND") || is_set("LIBGUESTFS_ATTACH_METHOD");
    if (!options.environment || !backend_given)
      invoke<void>("set_backend", guestfs_set_backend, cstr("direct"));
    if (state_->wants(LogLevel::debug)) invoke<void>("set_trace", guestfs_set_trace, true);
    use_private_tmpdir();
  }

  handle(handle&&) noexcept = default;
  handle& operator=(handle&& other) noexcept {
    if (this != &other) {
      finish();
      state_ = std::move(other.state_);
      accel_ = other.accel_;
      tmpdir_ = std::move(other.tmpdir_);
    }
    return *this;
  }
  ~handle() { finish(); }

  /// Ends the appliance and frees the handle. Waits for calls that other threads have in it; later calls
  /// throw HandleClosed. Closing twice is harmless. Errors of the guest's last writes are not told here:
  /// call shutdown() first where they matter. From one of the handle's own callbacks it throws Error.
  void close() {
    const auto state = state_;  // a callback of the close event may destroy this object
    if (!state || state->generation != fork_generation()) return;
    if (call_scope::inside(*state))
      throw Error("close",
                  "called from inside a call on this handle, by an event callback; close it afterwards",
                  EDEADLK);
    auto calls = state->calls.fetch_or(handle_state::closing);
    if ((calls & handle_state::closing) != 0) {  // another thread is closing: return when it has
      state->closed.wait(false);
      return;
    }
    calls |= handle_state::closing;
    while (calls != handle_state::closing) {
      state->calls.wait(calls);
      calls = state->calls.load();
    }
    state->end();
    if (state->wants(LogLevel::debug)) log(*state, LogLevel::debug, "close: the handle is closed");
    state->closed = true;
    state->closed.notify_all();
  }

  /// The C handle, for functions that guestkit does not wrap. Null when closed. It stays owned by this
  /// object; an error handler set on it must be taken back before the next call through guestkit.
  guestfs_h* native() const noexcept { return is_open() ? state_->h : nullptr; }

  /// Whether no call is inside the handle at this moment.
  bool is_idle() const noexcept { return state_ && (state_->calls.load() & ~handle_state::closing) == 0; }

  bool is_open() const noexcept {
    return state_ && (state_->calls.load() & handle_state::closing) == 0 &&
           state_->generation == fork_generation();
  }

 protected:
  template <class R, class F, class... A>
  c_result<R> invoke(const char* op, F fn, const A&... arguments) {
    return detail::call<R>(state_, op, fn, arguments...);
  }

  Subscription subscribe(Event events, EventCallback callback) {
    return Subscription(state_, events, std::move(callback));
  }

  /// The state outlives this object if another thread destroys it as soon as a call has ended.
  std::shared_ptr<handle_state> state() const noexcept { return state_; }

  /// Has libguestfs make its files in a directory of ours beneath the one that it would take itself.
  void use_private_tmpdir() {
    tmpdir_ = invoke<std::string>("get_tmpdir", guestfs_get_tmpdir).lift();
    try {
      state_->temporary = scratch::beneath(tmpdir_);
    } catch (const std::system_error& e) {  // libguestfs says so to whom needs the directory
      log(*state_, LogLevel::debug, std::string("no private temporary directory: ") + e.what());
      return;
    }
    invoke<void>("set_tmpdir", guestfs_set_tmpdir, std::optional(cstr(state_->temporary->path())));
  }

  const std::string& tmpdir() const noexcept { return tmpdir_; }

  void cancel_transfer() { guestfs_user_cancel(call_scope(state_, "user_cancel", false).h()); }

  void check_appliance() {
    const auto path = invoke<std::string>("launch", guestfs_get_path).lift();
    if (const auto fault = damaged_appliance(path); !fault.empty())
      throw LaunchError("launch", "the fixed appliance is damaged: " + fault, 0);
  }

  /// Settles who runs the appliance's processor, unless the user's backend settings say so already.
  void choose_accelerator() {
    const auto settings = invoke<string_list>("launch", guestfs_get_backend_settings).lift();
    bool chosen = false;
    for (const auto& setting : settings)
      chosen = chosen || setting.starts_with("force_tcg") || setting.starts_with("force_kvm");
    if (accel_ == Accel::automatic) {
      if (chosen || invoke<std::string>("launch", guestfs_get_backend).lift() != "direct") return;
      const auto kvm = kvm_status(invoke<std::string>("launch", guestfs_get_hv).lift());
      if (kvm.usable) return;
      say_once(kvm.reason);
    } else if (chosen) {
      invoke<int>("launch", guestfs_clear_backend_setting, cstr("force_tcg"));
      invoke<int>("launch", guestfs_clear_backend_setting, cstr("force_kvm"));
    }
    invoke<void>("launch", guestfs_set_backend_setting,
                 cstr(accel_ == Accel::kvm ? "force_kvm" : "force_tcg"), cstr("1"));
  }

  void finish() noexcept {
    try {
      close();
    } catch (const std::exception& e) {
      // Destroyed by its own callback: the last call that runs on it frees it.
      log(*state_, LogLevel::error, e.what());
    }
  }

 private:
  /// The environment without what makes libguestfs stop reading it: empty directory variables, which mean
  /// unset, and a runtime directory that is not there, as after su or in a container.
  static std::vector<cstr> environment() {
    std::vector<cstr> variables;
    for (char** variable = environ; variable != nullptr && *variable != nullptr; ++variable) {
      const std::string_view text = *variable;
      constexpr std::string_view runtime = "XDG_RUNTIME_DIR=";
      if (text == "TMPDIR=") continue;
      if (text.starts_with(runtime) && ::access(*variable + runtime.size(), F_OK) != 0) continue;
      variables.emplace_back(*variable);
    }
    return variables;
  }

  static bool is_set(const char* variable) noexcept {
    const char* value = std::getenv(variable);
    return value != nullptr && *value != '\0';
  }

  void say_once(const std::string& reason) const {
    static std::atomic_flag said = ATOMIC_FLAG_INIT;
    if (!said.test_and_set())
      log(*state_, LogLevel::warning, "KVM cannot be used, the appliance is emulated (TCG, slow): " + reason);
  }

  std::shared_ptr<handle_state> state_;
  Accel accel_;
  std::string tmpdir_;  // as the user sees it
};

}  // namespace detail
}  // namespace guestkit
