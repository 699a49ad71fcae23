// The handle: creating and closing it, what it is made with.
#pragma once

#include <guestfs.h>

#include <atomic>
#include <cerrno>
#include <memory>
#include <string>
#include <utility>

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
};

/// At most this many handles may be open at once in a process: libguestfs aborts it a little above.
inline constexpr int max_handles = 1000;

namespace detail {

/// Takes one of the process' places for an open handle and gives it back.
class handle_place {
 public:
  handle_place() {
    if (count().fetch_add(1) >= max_handles) {
      count().fetch_sub(1);
      throw Error("create",
                  "1000 handles are open in this process, the most that libguestfs bears; close some",
                  EMFILE);
    }
  }
  ~handle_place() {
    if (held_) count().fetch_sub(1);
  }
  handle_place(const handle_place&) = delete;
  handle_place& operator=(const handle_place&) = delete;
  void keep() noexcept { held_ = false; }
  static void give_back() noexcept { count().fetch_sub(1); }

 private:
  static std::atomic<int>& count() noexcept {
    static std::atomic<int> open{0};
    return open;
  }
  bool held_ = true;
};

/// guestfs_h and the rules of its life. Move-only; the actions are in generated/actions.hpp.
class handle {
 public:
  explicit handle(const HandleOptions& options = {})
      : state_(std::make_shared<handle_state>()), accel_(options.accel) {
    handle_place place;
    state_->log = options.log;
    // Not closed by libguestfs at exit: it would run callbacks into a program that is half gone.
    state_->h = guestfs_create_flags(GUESTFS_CREATE_NO_ENVIRONMENT | GUESTFS_CREATE_NO_CLOSE_ON_EXIT);
    if (state_->h == nullptr) throw Error("create", "", errno);
    place.keep();
    try {
      // Done here, not by guestfs_create: there a bad variable is only printed to stderr.
      if (options.environment) invoke<void>("parse_environment", guestfs_parse_environment);
      if (!options.environment || !is_set("LIBGUESTFS_BACKEND"))
        invoke<void>("set_backend", guestfs_set_backend, cstr("direct"));
    } catch (...) {
      close();
      throw;
    }
  }

  handle(handle&&) noexcept = default;
  handle& operator=(handle&& other) noexcept {
    if (this != &other) {
      finish();
      state_ = std::move(other.state_);
      accel_ = other.accel_;
    }
    return *this;
  }
  ~handle() { finish(); }

  /// Ends the appliance and frees the handle. Waits for calls that other threads have in it; later calls
  /// throw HandleClosed. Closing twice is harmless. Errors of the guest's last writes are not told here:
  /// call shutdown() first where they matter. From one of the handle's own callbacks it throws Error.
  void close() {
    if (!state_ || state_->generation != fork_generation()) return;
    if (call_scope::inside(*state_))
      throw Error("close",
                  "called from inside a call on this handle, by an event callback; close it afterwards",
                  EDEADLK);
    auto calls = state_->calls.fetch_or(handle_state::closing);
    if ((calls & handle_state::closing) != 0) {  // another thread is closing: return when it has
      state_->closed.wait(false);
      return;
    }
    calls |= handle_state::closing;
    while (calls != handle_state::closing) {
      state_->calls.wait(calls);
      calls = state_->calls.load();
    }
    guestfs_set_error_handler(state_->h, nullptr, nullptr);
    guestfs_close(std::exchange(state_->h, nullptr));
    state_->listeners.clear();
    handle_place::give_back();
    state_->closed = true;
    state_->closed.notify_all();
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
    return detail::call<R>(state_.get(), op, fn, arguments...);
  }

  Subscription subscribe(Event events, EventCallback callback) {
    return Subscription(state_, events, std::move(callback));
  }

  void set_launched(bool launched) noexcept {
    if (state_) state_->launched = launched;
  }

  void cancel_transfer() { guestfs_user_cancel(call_scope(state_.get(), "user_cancel", false).h()); }

  /// Settles who runs the appliance's processor, unless the user's backend settings say so already.
  void choose_accelerator() {
    const auto settings = invoke<string_list>("get_backend_settings", guestfs_get_backend_settings).lift();
    bool chosen = false;
    for (const auto& setting : settings)
      chosen = chosen || setting.starts_with("force_tcg") || setting.starts_with("force_kvm");
    if (accel_ == Accel::automatic) {
      if (chosen || invoke<std::string>("get_backend", guestfs_get_backend).lift() != "direct") return;
      const auto kvm = kvm_status(invoke<std::string>("get_hv", guestfs_get_hv).lift());
      if (kvm.usable) return;
      say_once(kvm.reason);
    } else if (chosen) {
      invoke<int>("clear_backend_setting", guestfs_clear_backend_setting, cstr("force_tcg"));
      invoke<int>("clear_backend_setting", guestfs_clear_backend_setting, cstr("force_kvm"));
    }
    invoke<void>("set_backend_setting", guestfs_set_backend_setting,
                 cstr(accel_ == Accel::kvm ? "force_kvm" : "force_tcg"), cstr("1"));
  }

  void finish() noexcept try { close(); } catch (const std::exception& e) {
    // Destroyed by its own callback: the call that is running still needs the handle, so it is left open.
    log(*state_, LogLevel::error, e.what());
  }

 private:
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
};

}  // namespace detail
}  // namespace guestkit
