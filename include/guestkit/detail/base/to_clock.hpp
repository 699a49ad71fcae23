// A limit that a caller gave, as a duration of the clock.
#pragma once

#include <algorithm>
#include <chrono>

#include "guestkit/limits.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// The same time, but at most a year: added to the present, a longer one would be over at once, for the
/// clock's numbers end.
inline std::chrono::steady_clock::duration to_clock(Seconds time) {
  constexpr Seconds none{0}, ever = std::chrono::hours(24 * 365);
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::clamp(time, none, ever));
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
