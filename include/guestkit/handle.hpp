// The handle: making it, ending what it does, closing it. Its actions are in generated/actions.hpp.
#pragma once

#include <guestfs.h>

#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/call/call.hpp"
#include "guestkit/detail/call/handle_state.hpp"
#include "guestkit/event.hpp"
#include "guestkit/handle_options.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// guestfs_h* and the rules of its life: the part of Guestfs that is not actions. Move-only. Threads: any.
class handle {
 public:
  /// Throws Error, also for a variable of the environment that makes no sense.
  explicit handle(const HandleOptions& options = {});
  handle(handle&&) noexcept = default;
  handle& operator=(handle&& other) noexcept;
  ~handle() { finish(); }

  /// Ends the appliance and frees the handle. Waits for calls that other threads have in it; later calls
  /// throw HandleClosed. Closing twice is harmless. Errors of the guest's last writes are not told here:
  /// call shutdown() first where they matter. From one of the handle's own callbacks it throws Error.
  void close();

  /// Ends the call that another thread has running on the handle, if there is one; returns at once.
  ///
  /// A transfer stops and the handle goes on working, as after user_cancel(), but no cancel is lost. What has
  /// not stopped after Limits::cancel_grace is ended by killing the hypervisor; a launch is at once. The call
  /// throws Error with EINTR, or ApplianceKilled, which every later call then throws too.
  void cancel();

  /// Kills what runs for the handle: its hypervisor, or what it starts before. Waits for nothing, not even
  /// for a call that is running, which throws ApplianceKilled as every later one but close(). What a guest
  /// has not written to its disks yet is lost. Harmless on a closed handle.
  ///
  /// Threads: any; not async-signal-safe.
  void terminate();

  /// The C handle, for functions that guestkit does not wrap. Null when closed. It stays owned by this
  /// object; an error handler set on it must be taken back before the next call through guestkit.
  /// What is done with it guestkit does not know: such a handle restores no warm appliance.
  guestfs_h* native() const noexcept;

  /// Whether no call is inside the handle at this moment.
  bool is_idle() const noexcept { return is_ours() && state_->turns->is_idle(); }
  bool is_open() const noexcept { return is_ours() && state_->turns->is_open(); }

  /// What the handle is made of, for what guestkit builds upon the actions.
  friend std::shared_ptr<handle_state> state_of(const handle& h) noexcept { return h.state_; }

 protected:
  /// Who makes a call copies it: another thread may destroy this object as soon as the call has ended.
  const std::shared_ptr<handle_state>& state() const noexcept { return state_; }

  /// Makes a call of libguestfs.
  template <class R, class F, class... A>
  c_result<R> invoke(const action& op, F fn, const A&... arguments) {
    return detail::call<R>(state_, op, fn, arguments...);
  }

  /// Makes a call that gives the machine something, and remembers it for a launch that has to begin anew.
  template <class R, class F, class... A>
  c_result<R> add(const action& op, F fn, const A&... arguments) {
    const turn mine(state_, op.name);
    auto result = invoke<R>(op, fn, arguments...);
    handle_state::addition given{.disk = std::string_view(op.name) != "config", .repeat = {}};
    if constexpr ((std::is_pointer_v<A> || ...))  // a libvirt domain, which may be gone the next time
      given.repeat = [](guestfs_h*) { return false; };
    else
      given.repeat = [fn, kept = std::tuple(detail::keep(arguments)...)](guestfs_h* h) {
        return std::apply(
            [&](const auto&... a) { return !c_result<R>::failed(fn(h, lower(detail::view(a))...)); }, kept);
      };
    state_->remember(std::move(given));
    return result;
  }

  /// Has libguestfs make its files in a directory of ours beneath the one that it would take itself.
  void use_private_tmpdir();
  /// The directory for temporary files, as the user sees it.
  const std::string& tmpdir() const noexcept { return state_->tmpdir; }

  void cancel_transfer();
  /// The appliance is to be shut down: it is no longer expected to answer, and its disks are gone.
  void forget_appliance() noexcept;
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
