// The settings that a launch puts over the user's: settings.hpp.
#pragma once

#include <memory>

#include "guestkit/detail/base/action.hpp"
#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/launch/appliance.hpp"
#include "guestkit/detail/state/handle_state.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Applies the settings that the choice needs.
void cover_settings(const std::shared_ptr<handle_state>& state, const ApplianceChoice& choice);

/// Gives the user's own settings back. `op` is the call that asks; throws its Error. While an appliance runs,
/// libguestfs takes none of them: the next launch tries again.
void uncover_all(const std::shared_ptr<handle_state>& state, const action& op);
/// The same for a launch. Throws nothing: what fails, the next launch does.
void try_to_uncover_all(const std::shared_ptr<handle_state>& state) noexcept;

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/launch/covering.ipp"
#endif
