// Reasons not to let libguestfs' inspection run augeas on a guest.
#pragma once

#include <optional>
#include <string>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/files/guest_actions.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Why libguestfs' inspection must not examine the filesystem at /: it has augeas open these files from
/// outside the guest's root, read them whole and look up each entry. Nothing if it may.
std::optional<std::string> fault_for_augeas(guest_actions& g);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/augeas_fault.ipp"
#endif
