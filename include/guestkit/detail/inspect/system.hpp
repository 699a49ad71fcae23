// An operating system as libguestfs' inspection sees it, after inspect_os.
#pragma once

#include <string>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/inspect/layout.hpp"
#include "guestkit/generated/inspection.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// What inspect_os has found out of the system on that filesystem.
InspectedSystem system_at(guest_actions& g, const std::string& root);

/// The texts and numbers in which an answer differs from another one, each difference as a sentence.
std::vector<std::string> facts_that_differ(const InspectedSystem& answer, const InspectedSystem& other);

/// Mounts an operating system that libguestfs has found: its root at /, whatever fstab names for it, and the
/// others where they belong. What cannot be mounted beside the root is a failure in the report; a root that
/// cannot be mounted is an Error.
///
/// Of a Linux guestkit's own plan counts, and whatever libguestfs has found beside fstab.
/// @param corrections  says afterwards where the plan differs from what libguestfs says
void mount_system(guest_actions& g, InspectedSystem& system, layout& layout,
                  std::vector<std::string>& corrections);

void add_icon(guest_actions& g, InspectedSystem& system);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/system.ipp"
#endif
