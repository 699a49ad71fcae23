// What os-release and the package database say of a system for which there are no rules.
#pragma once

#include <string>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/inspect/tree.hpp"
#include "guestkit/generated/inspection.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Takes distribution, product and version from os-release.
void take_release(InspectedSystem& system);

/// Takes the format and the manager of the packages from what is in the guest.
void take_package_format(const guest_tree& files, InspectedSystem& system);

/// Fills in from os-release and the package database what libguestfs does not know, or takes for the
/// distribution that this one derives from; returns what that is.
std::vector<std::string> fill_in(const guest_tree& files, InspectedSystem& system);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/release.ipp"
#endif
