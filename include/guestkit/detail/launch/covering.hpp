// The settings that a launch puts over the user's: settings.hpp.
#pragma once

#include <memory>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/launch/appliance.hpp"
#include "guestkit/detail/state/handle_state.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Applies the settings that the choice needs.
void cover_settings(const std::shared_ptr<handle_state>& state, const ApplianceChoice& choice);

/// Applies the user's own settings again. While an appliance runs that cannot be done; the next launch tries
/// again.
void put_settings_back(const std::shared_ptr<handle_state>& state) noexcept;
/// The same for the backend settings alone; throws Error.
void put_backend_back(const std::shared_ptr<handle_state>& state);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/launch/covering.ipp"
#endif
