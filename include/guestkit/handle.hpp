// The handle: creating it, stopping its calls, closing it. Its actions are in generated/actions.hpp.
#pragma once

#include <guestfs.h>

#include <memory>
#include <string>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/call/machine_calls.hpp"
#include "guestkit/event.hpp"
#include "guestkit/handle_options.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Owns a guestfs_h* and manages its lifetime: the part of Guestfs that is not actions. Move-only. Threads:
/// any.
class handle {
 public:
  /// Throws Error, also for an environment variable that makes no sense.
  explicit handle(const HandleOptions& options = {});
  handle(handle&&) noexcept = default;
  handle& operator=(handle&& other) noexcept;
  ~handle() { finish(); }

  /// Unmounts what the handle shows in a directory of the host, ends the appliance and frees the handle.
  /// Waits for calls that other threads have in progress; later calls throw HandleClosed. Closing twice is
  /// harmless. It does not report failures of the guest's last writes: if they matter, call shutdown() first.
  /// Throws Error if called from one of the handle's own callbacks, and, after about a minute, if the
  /// directory cannot be unmounted; the handle stays open then.
  void close();

  /// Ends the call that another thread is running on the handle, if there is one. Returns at once.
  ///
  /// A transfer stops and the handle stays usable, as after user_cancel(), but a cancel is never lost. A call
  /// that has not stopped after Limits::cancel_grace is ended by killing the hypervisor; a launch is killed
  /// at once. The call throws Error with EINTR, or ApplianceKilled, which every later call then throws too.
  /// What ends mount_local_run() and a Mounted is that the directory is unmounted, which is no error. A
  /// close() goes on: it has the guest's last writes to save.
  void cancel();

  /// Kills whatever runs for the handle: its hypervisor, or the programs that a launch starts before it.
  /// Waits for nothing, not even for the running call, which throws ApplianceKilled, as does every later call
  /// except close(). What a guest has not yet written to its disks is lost. Harmless on a closed handle.
  ///
  /// Threads: any; not async-signal-safe.
  void terminate();

  /// The C handle, for functions that guestkit does not wrap; null if closed. This object still owns it. If
  /// you set an error handler on it, restore the previous one before the next call through guestkit. guestkit
  /// cannot know what else you do with it, so the handle no longer restores a warm appliance.
  guestfs_h* native() const noexcept;

  /// Whether no call is inside the handle at this moment.
  bool is_idle() const noexcept { return is_ours() && state_->turns->is_idle(); }
  /// Whether it has not been closed; it is open even if its appliance died or was killed.
  bool is_open() const noexcept { return is_ours() && state_->turns->is_open(); }

  /// The handle's state, for the parts of guestkit that are built on top of the actions.
  friend std::shared_ptr<handle_state> state_of(const handle& h) noexcept { return h.state_; }

 protected:
  /// Every call keeps a copy: another thread may destroy this object as soon as the call has ended.
  const std::shared_ptr<handle_state>& state() const noexcept { return state_; }

  /// Makes a call of libguestfs.
  template <class R, class F, class... A>
  c_result<R> invoke(const action& op, F fn, const A&... arguments) {
    return detail::call<R>(state_, op, fn, arguments...);
  }

  /// Makes a call that adds something to the machine.
  template <class R, class F, class... A>
  c_result<R> add(const action& op, F fn, const A&... arguments) {
    return add_to_machine<R>(state_, op, fn, arguments...);
  }

  void cancel_transfer();
  /// close() for destructors.
  void finish() noexcept;

 private:
  bool is_ours() const noexcept { return state_ && state_->is_ours(); }
  void read_environment();

  std::shared_ptr<handle_state> state_;
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/call/handle.ipp"
#endif
