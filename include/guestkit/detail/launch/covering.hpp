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

/// Applies the user's own settings again, as a part of that call, whose Error it throws. While an appliance
/// runs, libguestfs takes none of them: the next launch tries again.
void uncover_all(const std::shared_ptr<handle_state>& state, const action& op);
/// The same as a part of a launch, which may have been stopped: then, too, the next one tries again.
void try_to_uncover_all(const std::shared_ptr<handle_state>& state) noexcept;

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/launch/covering.ipp"
#endif
