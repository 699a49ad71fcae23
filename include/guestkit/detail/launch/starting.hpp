// libguestfs' own part of a launch, and the boot in the place of a restore that fails.
#pragma once

#include <functional>
#include <memory>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/launch/appliance.hpp"
#include "guestkit/detail/state/handle_state.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Starts the appliance. If a restore fails, boots instead, once. Throws LaunchError.
/// @param choice   becomes the appliance that was started in the end
/// @param prepare  readies the C handle for the choice; again for the fresh one of the boot
void start_appliance(const std::shared_ptr<handle_state>& state, ApplianceChoice& choice,
                     const std::function<void()>& prepare);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/launch/starting.ipp"
#endif
