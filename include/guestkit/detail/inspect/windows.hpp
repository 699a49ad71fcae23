// What keeps libguestfs' inspection from opening the files of a Windows.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/inspect/guest_actions.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Where boot.ini says that there is a Windows. Rather more places than libguestfs looks at than fewer.
std::vector<std::string> systemroots_in(std::string_view text);

/// Why libguestfs' inspection must not be asked about the filesystem at /; nothing if it may be. It opens the
/// registry of a Windows from outside of the guest's root, and boot.ini, which may say where that Windows is,
/// without looking at what they are.
std::optional<std::string> fault_for_registry(guest_actions& g);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/windows.ipp"
#endif
