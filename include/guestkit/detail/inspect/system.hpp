// An operating system as libguestfs' inspection sees it, after inspect_os.
#pragma once

#include <string>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/inspect/layout.hpp"
#include "guestkit/generated/inspection.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Makes each fact that libguestfs tells of every system "unknown", as libguestfs calls it.
void set_unknown(InspectedSystem& system);

/// What inspect_os has found out about the system on that filesystem.
InspectedSystem system_at(guest_actions& g, const std::string& root);

/// The texts and numbers in which two answers differ, each difference as a sentence.
std::vector<std::string> facts_that_differ(const InspectedSystem& answer, const InspectedSystem& other);

/// Mounts an operating system that libguestfs has found: its root at /, whatever fstab says, and the other
/// filesystems where they belong. If one of those cannot be mounted, that is a failure in the report; if the
/// root cannot, it is an Error.
///
/// For a Linux, guestkit's own plan is used, plus whatever libguestfs has found that is not in fstab.
/// @param corrections  receives the points in which the plan differs from libguestfs' answer
void mount_system(guest_actions& g, InspectedSystem& system, layout& layout,
                  std::vector<std::string>& corrections);

void add_icon(guest_actions& g, InspectedSystem& system);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/system.ipp"
#endif
