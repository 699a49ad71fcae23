// Reasons not to let libguestfs' inspection open the files of a Windows.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/files/guest_actions.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Where libguestfs looks for a Windows, in this order, without regard to case.
inline constexpr std::array systemroots{"windows", "winnt", "win32", "win", "reactos"};

/// Resolves a path without regard to case, as libguestfs does; nothing if it does not exist.
std::optional<std::string> as_windows_has_it(guest_actions& g, const std::string& path);

/// Where boot.ini places a Windows. In doubt this returns more places than libguestfs examines.
std::vector<std::string> systemroots_in(std::string_view text);

/// Why libguestfs' inspection must not examine the filesystem at /; nothing if it may. It opens a Windows'
/// registry from outside the guest's root, and boot.ini, which may say where that Windows is, without
/// checking what kind of files they are.
std::optional<std::string> fault_for_registry(guest_actions& g);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/registry_fault.ipp"
#endif
