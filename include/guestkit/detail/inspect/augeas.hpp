// What keeps libguestfs' inspection from asking augeas about a guest.
#pragma once

#include <optional>
#include <string>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/inspect/guest_actions.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Why libguestfs' inspection must not be asked about the filesystem at /: it has augeas open these files
/// outside of the guest's root, read all of them and look up each entry. Nothing if it may be asked.
std::optional<std::string> fault_for_augeas(guest_actions& g);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/augeas.ipp"
#endif
