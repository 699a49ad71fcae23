#pragma once

#include <exception>
#include <optional>
#include <string>
#include <utility>

#include "guestkit/detail/launch/covering.hpp"
#include "guestkit/detail/launch/hypervisor_name.hpp"
#include "guestkit/detail/launch/launch_call.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

inline std::optional<std::string> current_setting(const std::shared_ptr<handle_state>& state,
                                                  launch_setting which) {
  switch (which) {
    case launch_setting::path:
      return launch_call<std::string>(state, guestfs_get_path);
    case launch_setting::hypervisor:
      return launch_call<std::string>(state, guestfs_get_hv);
    case launch_setting::cachedir:
      return launch_call<std::string>(state, guestfs_get_cachedir);
    case launch_setting::append:
      return launch_call<std::optional<std::string>>(state, guestfs_get_append);
  }
  return std::nullopt;
}

inline void change_setting(const std::shared_ptr<handle_state>& state, const action& op, launch_setting which,
                           const std::optional<std::string>& value) {
  const auto change = [&](auto set) {
    call<void>(state, op, set, value ? std::optional(cstr(*value)) : std::nullopt);
  };
  switch (which) {
    case launch_setting::path:
      return change(guestfs_set_path);
    case launch_setting::hypervisor:
      return change(guestfs_set_hv);
    case launch_setting::cachedir:
      return change(guestfs_set_cachedir);
    case launch_setting::append:
      return change(guestfs_set_append);
  }
}

inline void cover_setting(const std::shared_ptr<handle_state>& state, launch_setting which,
                          covered_setting values) {
  change_setting(state, "launch", which, values.launch);
  state->covered.cover(which, std::move(values));
}

GUESTKIT_INLINE void uncover_all(const std::shared_ptr<handle_state>& state, const action& op) {
  if (state->covered.are_none() || !call<bool>(state, op, guestfs_is_config).lift()) return;
  for (const auto which : launch_settings)
    if (const auto covered = state->covered.find(which)) {
      change_setting(state, op, which, covered->user);
      state->covered.uncover(which);
    }
  if (const auto user = state->covered.backend()) {
    call<void>(state, op, guestfs_set_backend_settings, cstr_list(*user));
    state->covered.uncover_backend();
  }
}

GUESTKIT_INLINE void try_to_uncover_all(const std::shared_ptr<handle_state>& state) noexcept try {
  uncover_all(state, "launch");
} catch (const std::exception&) {  // stopped, or no memory
}

GUESTKIT_INLINE void cover_settings(const std::shared_ptr<handle_state>& state,
                                    const ApplianceChoice& choice) {
  using enum launch_setting;
  try_to_uncover_all(state);
  if (!launch_call<bool>(state, guestfs_is_config)) return;  // launch itself reports what is wrong
  if (!choice.directory.empty())
    cover_setting(state, path, {.user = current_setting(state, path), .launch = choice.directory});
  const auto user = current_setting(state, hypervisor);
  const auto name = harmless_name(choice.hypervisor.empty() ? *user : choice.hypervisor);
  if (name != user) cover_setting(state, hypervisor, {.user = user, .launch = name});
  if (!choice.cache.empty())
    cover_setting(state, cachedir, {.user = current_setting(state, cachedir), .launch = choice.cache});
  if (choice.backend_settings) {
    auto own = launch_call<string_list>(state, guestfs_get_backend_settings);
    launch_call<void>(state, guestfs_set_backend_settings, cstr_list(*choice.backend_settings));
    state->covered.cover_backend(std::move(own));
  }
  if (choice.append.empty()) return;
  const auto own = current_setting(state, append);
  cover_setting(state, append, {.user = own, .launch = choice.append + (own ? ' ' + *own : "")});
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
