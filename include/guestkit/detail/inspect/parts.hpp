// The parts of an inspection that come from a guest's files, which are mounted: who, what runs, how it is set
// up.
#pragma once

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/inspect/share.hpp"
#include "guestkit/detail/inspect/tree.hpp"
#include "guestkit/generated/inspection.hpp"
#include "guestkit/inspect_options.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

void add_os_release(const guest_tree& files, InspectedSystem& system);

/// What was asked for and comes from files. One that fails costs itself alone.
void add_parts(const guest_tree& files, InspectPart wanted, InspectedSystem& system, part_runner& run);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/parts.ipp"
#endif
