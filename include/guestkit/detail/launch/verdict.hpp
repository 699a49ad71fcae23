// What the hypervisor of a warm appliance says of itself: a line on stderr, where the handle reads it.
#pragma once

#include <string_view>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail::warm {

/// The line begins with it; one of the two below follows.
inline constexpr std::string_view verdict_prefix = "guestkit: ";
inline constexpr std::string_view restoring = "restoring";
inline constexpr std::string_view normal_boot = "normal boot: ";  ///< and why

}  // namespace guestkit::inline GUESTKIT_FORM::detail::warm
