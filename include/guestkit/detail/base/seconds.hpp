// Times that callers give, as durations of the clock and in messages.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>

#include "guestkit/limits.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// The same time, but at most a year: added to the present, a longer one would be over at once, for the
/// clock's numbers end.
inline std::chrono::steady_clock::duration to_clock(Seconds time) {
  constexpr Seconds none{0}, ever = std::chrono::hours(24 * 365);
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::clamp(time, none, ever));
}

/// A time as it appears in messages, such as "0.5 s".
inline std::string shown(Seconds time) {
  char text[32];
  std::snprintf(text, sizeof text, "%g s", time.count());
  return text;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
