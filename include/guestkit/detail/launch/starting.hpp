// libguestfs' own part of a launch, and the boot in the place of a restore that fails.
#pragma once

#include <functional>
#include <memory>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/launch/appliance.hpp"
#include "guestkit/detail/state/handle_state.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Readies the C handle for an appliance.
using preparation = std::function<void(const ApplianceChoice&)>;

/// Starts the appliance. If a restore fails, boots the lean one instead, once. Returns what was started in
/// the end; throws LaunchError.
/// @param prepare  called again for the fresh C handle of the boot
ApplianceChoice start_appliance(const std::shared_ptr<handle_state>& state, const ApplianceChoice& choice,
                                const preparation& prepare);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/launch/starting.ipp"
#endif
