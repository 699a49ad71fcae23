// guestkit::Guestfs: a libguestfs handle with every action as a method.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include "generated/actions.hpp"
#include "handle.hpp"

namespace guestkit {

namespace detail {

/// Results as C++ values.
class value_core : public handle {
 public:
  using handle::handle;
  template <class R>
  using result = R;

 protected:
  template <class R, class F, class... A>
  R call(const char* op, F fn, const A&... arguments) {
    return this->template invoke<R>(op, fn, arguments...).lift();
  }
};

}  // namespace detail

/// A handle on the disks of one guest. A class template, so that a program compiles only what it calls.
///
/// Ownership: move-only; closed by close() or at its end. Errors: every method throws Error or one of its
/// children. Threads: any thread may call at any time, calls on one handle run one after the other; only
/// user_cancel() does not wait. After fork() the handle is the parent's alone.
///
/// Methods have libguestfs' own names, so guestfs(3) is their manual.
template <class Core>
class basic_guestfs : public detail::actions<Core> {
 public:
  using detail::actions<Core>::actions;

  /// Start the appliance; add the disks first. Takes seconds.
  ///
  /// Notices a KVM that does not work and lets QEMU emulate instead (HandleOptions::accel).
  /// C: guestfs_launch(3), since 0.0.3. Throws LaunchError, which says why and what
  /// mends it.
  typename Core::template result<void> launch() {
    const auto begin = std::chrono::steady_clock::now();
    const auto state = this->state();
    if (state) state->console.clear();
    const auto say = [&](const std::string& what) {
      if (!state || !state->wants(LogLevel::info)) return;
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
      detail::log(*state, LogLevel::info,
                  "launch: " + what + " after " + std::to_string(seconds.count()) + " s");
    };
    try {
      this->check_appliance();
      this->choose_accelerator();
      detail::actions<Core>::launch();
    } catch (const LaunchError& e) {
      say(std::string("failed (") + to_string(e.cause()) + ")");
      throw;
    }
    if (state) state->launched = true;
    say("the appliance is up");
    return typename Core::template result<void>(0);
  }

  /// Have libguestfs write debug messages, to stderr or to whom listens to Event::library and appliance.
  /// C: guestfs_set_verbose(3), since 0.0.3.
  typename Core::template result<void> set_verbose(bool verbose) {
    if (const auto state = this->state()) state->verbose = verbose;
    return detail::actions<Core>::set_verbose(verbose);
  }

  /// Choose whether each call is written down, to stderr or to whom listens to Event::trace.
  /// C: guestfs_set_trace(3), since 1.0.69.
  typename Core::template result<void> set_trace(bool trace) {
    const auto state = this->state();
    if (state && trace) state->traces = true;
    detail::actions<Core>::set_trace(trace);
    state->traces = trace;  // the call that ends it is the last one that is traced
    return typename Core::template result<void>(0);
  }

  /// Set the directory of the host for temporary files, null for the default. They are made in a directory
  /// beneath it that this user alone can enter. C: guestfs_set_tmpdir(3), since 1.19.58.
  typename Core::template result<void> set_tmpdir(std::optional<cstr> tmpdir) {
    detail::actions<Core>::set_tmpdir(tmpdir);
    this->use_private_tmpdir();
    return typename Core::template result<void>(0);
  }

  /// Return the directory of the host for temporary files, as it was set.
  /// C: guestfs_get_tmpdir(3), since 1.19.58.
  typename Core::template result<std::string> get_tmpdir() {
    const detail::call_scope open(this->state(), "get_tmpdir");
    return typename Core::template result<std::string>(this->tmpdir().c_str());
  }

  /// Shut the appliance down and tell whether the guest's last writes failed; close() does not tell.
  /// The handle has no disks afterwards. C: guestfs_shutdown(3), since 1.19.16.
  typename Core::template result<void> shutdown() {
    if (const auto state = this->state()) state->launched = false;  // also if it fails
    return detail::actions<Core>::shutdown();
  }

  /// Shut the appliance down. C: guestfs_kill_subprocess(3), since 0.0.3. Deprecated: use shutdown.
  [[deprecated("use shutdown")]] typename Core::template result<void> kill_subprocess() {
    if (const auto state = this->state()) state->launched = false;
    return detail::actions<Core>::kill_subprocess();
  }

  /// Stop the upload or download that another thread has running on this handle; never waits.
  ///
  /// It is lost when it comes before the transfer begins: send it again until the call has returned. The call
  /// throws Error with EINTR and the handle stays usable. C: guestfs_user_cancel(3), since 1.11.18.
  typename Core::template result<void> user_cancel() {
    this->cancel_transfer();
    return typename Core::template result<void>(0);
  }

  /// Have callback run at each of these events. guestfs_set_event_callback(3).
  Subscription set_event_callback(Event events, EventCallback callback) {
    return this->subscribe(events, std::move(callback));
  }
};

using Guestfs = basic_guestfs<detail::value_core>;

}  // namespace guestkit
