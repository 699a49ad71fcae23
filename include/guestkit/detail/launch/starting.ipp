#pragma once

#include <cerrno>
#include <exception>
#include <mutex>
#include <optional>
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

inline warm::verdict verdict_of(handle_state& state) {
  const std::lock_guard lock(state.launches.mutex);
  return warm::verdict_in(state.launches.verdict);
}

/// A fresh C handle with the configuration of the handle's own. Null if it cannot be made: the caller has
/// more to tell, why the launch failed.
inline c_handle fresh_copy(const std::shared_ptr<handle_state>& state) noexcept try {
  call_scope adding(state, "launch");  // a disk is added by programs of the host, which may hang
  adding.refuse_high_descriptors();
  c_handle fresh(create_c_handle(), {state.get()});
  guestfs_set_error_handler(fresh.get(), nullptr, nullptr);
  bool same = copy_settings(adding.h(), fresh.get());
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

/// The lean appliance that was booted in the place of a warm one.
inline ApplianceChoice lean_instead(ApplianceChoice choice, std::string reason) {
  choice.mode = ApplianceMode::lean;
  choice.reason = std::move(reason);
  return choice;
}

/// Boots the lean appliance after a failed restore. Returns nothing if it cannot be tried.
inline std::optional<ApplianceChoice> boot_instead(const std::shared_ptr<handle_state>& state,
                                                   const ApplianceChoice& restored, const std::string& why,
                                                   const preparation& prepare) {
  auto choice = lean_instead(restored, "the warm appliance failed: " + printable(why));
  log(*state, LogLevel::warning, choice.reason + "; launching again without it");
  choice.hypervisor.clear();
  choice.cache.clear();
  if (!renew(state)) return std::nullopt;
  state->output.console.clear();
  prepare(choice);
  launch_call<void>(state, guestfs_launch);
  return choice;
}

GUESTKIT_INLINE ApplianceChoice start_appliance(const std::shared_ptr<handle_state>& state,
                                                const ApplianceChoice& choice, const preparation& prepare) {
  prepare(choice);
  {
    const std::lock_guard lock(state->launches.mutex);
    state->launches.verdict.clear();
  }
  const bool is_warm = choice.mode == ApplianceMode::warm;
  try {
    launch_call<void>(state, guestfs_launch);
  } catch (const LaunchError& e) {
    const auto said = verdict_of(*state);
    auto booted = is_warm && said.is_of_restore()
                      ? boot_instead(state, choice, said.reason.empty() ? e.message() : said.reason, prepare)
                      : std::nullopt;
    if (!booted) throw;
    return *std::move(booted);
  }
  const auto said = verdict_of(*state);
  return !is_warm || said.is_of_restore() ? choice : lean_instead(choice, printable(said.reason));
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
