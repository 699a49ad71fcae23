#pragma once

#include <cerrno>
#include <exception>
#include <mutex>
#include <string>
#include <utility>

#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/call/listeners.hpp"
#include "guestkit/detail/launch/copy_settings.hpp"
#include "guestkit/detail/launch/covering.hpp"
#include "guestkit/detail/launch/launch_call.hpp"
#include "guestkit/detail/launch/starting.hpp"
#include "guestkit/detail/state/verdict.hpp"
#include "guestkit/launch_error.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

inline std::string verdict_of(handle_state& state) {
  const std::lock_guard lock(state.launches.mutex);
  return state.launches.verdict;
}

/// Whether its hypervisor has spoken, but not of a boot.
inline bool is_of_restore(const std::string& verdict) {
  return !verdict.empty() && !verdict.starts_with(warm::normal_boot);
}

/// A fresh C handle with the configuration of the handle's own. Null if it cannot be made: the caller has
/// more to tell, why the launch failed.
inline c_handle fresh_copy(const std::shared_ptr<handle_state>& state) noexcept try {
  call_scope adding(state, "launch");  // a disk is added by programs of the host, which may hang
  adding.refuse_high_descriptors();
  c_handle fresh(create_c_handle(), {state.get()});
  guestfs_set_error_handler(fresh.get(), nullptr, nullptr);
  bool same = copy_settings(state->h, fresh.get());
  for (const auto& addition : state->machine.additions) same = same && addition.repeat(fresh.get());
  if (!same) fresh.reset();
  return fresh;
} catch (const std::exception&) {  // no memory, no descriptors, or the launch was stopped
  return {nullptr, {state.get()}};
}

/// Replaces the C handle whose launch has failed with a fresh one of the same configuration, since libguestfs
/// may or may not have forgotten the old one's disks. Returns false if that cannot be done.
inline bool renew(const std::shared_ptr<handle_state>& state) {
  try_to_uncover_all(state);
  c_handle fresh = fresh_copy(state), old(nullptr, {state.get()});
  state->turns->throw_if_stopped("launch", "", EINTR, {});
  if (!fresh) return false;
  {
    const std::lock_guard lock(state->launches.mutex);
    if (state->native_given) return false;  // by an event's callback, since the appliance was chosen
    old.reset(std::exchange(state->h, fresh.release()));
  }
  guestfs_delete_event_callback(old.get(), 0);  // nobody is to be notified of its close
  guestfs_set_verbose(old.get(), 0);
  guestfs_set_trace(old.get(), 0);
  guestfs_set_event_callback(state->h, &deliver, GUESTFS_EVENT_ALL, 0, state.get());
  state->serial = next_serial();
  state->machine.disks_gone = false;
  state->machine.is_sandboxed = false;
  state->machine.is_named = false;
  state->turns->replace(state->h);
  return true;
}

/// Boots the lean appliance after a failed restore. Returns false if it cannot be tried.
inline bool boot_instead(const std::shared_ptr<handle_state>& state, ApplianceChoice& choice,
                         const LaunchError& failure, const std::function<void()>& prepare) {
  const auto said = verdict_of(*state);
  choice.reason =
      "the warm appliance failed: " + printable(said == warm::restoring ? failure.message() : said);
  log(*state, LogLevel::warning, choice.reason + "; launching again without it");
  choice.mode = ApplianceMode::lean;
  choice.hypervisor.clear();
  choice.cache.clear();
  if (!renew(state)) return false;
  state->output.console.clear();
  prepare();
  launch_call<void>(state, guestfs_launch);
  return true;
}

GUESTKIT_INLINE void start_appliance(const std::shared_ptr<handle_state>& state, ApplianceChoice& choice,
                                     const std::function<void()>& prepare) {
  prepare();
  {
    const std::lock_guard lock(state->launches.mutex);
    state->launches.verdict.clear();
  }
  const bool restores = choice.mode == ApplianceMode::warm;
  try {
    launch_call<void>(state, guestfs_launch);
  } catch (const LaunchError& e) {
    if (!restores || !is_of_restore(verdict_of(*state)) || !boot_instead(state, choice, e, prepare)) throw;
    return;
  }
  const auto said = verdict_of(*state);
  if (!restores || is_of_restore(said)) return;
  choice.mode = ApplianceMode::lean;
  choice.reason = said.empty() ? "" : printable(said.substr(warm::normal_boot.size()));
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
