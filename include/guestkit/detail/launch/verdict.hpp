// What the hypervisor of a warm appliance reports about itself: a line on stderr, where the handle reads it.
#pragma once

#include <string_view>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail::warm {

/// The line's prefix; one of the two below follows.
inline constexpr std::string_view verdict_prefix = "guestkit: ";
inline constexpr std::string_view restoring = "restoring";
inline constexpr std::string_view normal_boot = "normal boot: ";  ///< followed by the reason

}  // namespace guestkit::inline GUESTKIT_FORM::detail::warm
