// Describes systems without rules of their own, from os-release and the package database.
#pragma once

#include <string>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/files/tree.hpp"
#include "guestkit/generated/inspection.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Whether there is an os-release, in one of the places where an operating system has it.
bool has_os_release(const guest_tree& files);

/// Sets distribution, product and version from os-release. Debian's has no minor version, so
/// /etc/debian_version gives it.
void take_release(const guest_tree& files, InspectedSystem& system);

/// Sets the packages' format and manager according to the files in the guest.
void take_package_format(const guest_tree& files, InspectedSystem& system);

/// Fills in from os-release and the package database what libguestfs does not know, or confuses with the
/// distribution that this one derives from; returns what that was.
std::vector<std::string> fill_in(const guest_tree& files, InspectedSystem& system);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/release.ipp"
#endif
