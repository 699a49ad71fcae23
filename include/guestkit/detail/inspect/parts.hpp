// The parts of an inspection that come from a mounted guest's files: users, services, configuration.
#pragma once

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/files/tree.hpp"
#include "guestkit/detail/inspect/part_runner.hpp"
#include "guestkit/generated/inspection.hpp"
#include "guestkit/inspect_options.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

void add_os_release(const guest_tree& files, InspectedSystem& system);

/// Adds the requested parts that come from files. A part that fails affects no other.
void add_parts(const guest_tree& files, InspectPart wanted, InspectedSystem& system, part_runner& run);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/parts.ipp"
#endif
