// Why an appliance must not be used: it is damaged or stale, or other users could have changed it.
#pragma once

#include <string>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Why an appliance built by guestkit must not be used; empty if it may. A usable one matches its manifest,
/// belongs to this user or root, and was made from what is still installed. Costs about 30 stat calls.
std::string appliance_fault(const std::string& directory);

/// The same for a template, from which a warm appliance is restored.
std::string template_fault(const std::string& directory);

/// What is wrong with the fixed appliance that libguestfs would find on this search path; empty if nothing
/// is, or if libguestfs would build its own. libguestfs crashes on a root image that is empty or has no UUID.
std::string damaged_appliance(const std::string& search_path);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/launch/appliance_fault.ipp"
#endif
