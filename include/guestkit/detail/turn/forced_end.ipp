#pragma once

#include <cerrno>

#include "guestkit/detail/base/seconds.hpp"
#include "guestkit/detail/turn/forced_end.hpp"
#include "guestkit/error.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE void forced_end::begin(kind how, clock::time_point kill_at, named_limit exceeded) {
  how_ = how;
  kill_at_ = kill_at;
  exceeded_ = exceeded;
}

GUESTKIT_INLINE void forced_end::note_kill(const std::string& why) {
  if (killed_.empty()) killed_ = why;
}

GUESTKIT_INLINE std::string forced_end::reason(const std::string& op) const {
  const auto why = is(kind::timed_out) ? "took longer than its " + std::string(exceeded_.name)
                                       : "was cancelled and did not end";
  return op.empty() ? why : op + " " + why;
}

GUESTKIT_INLINE void forced_end::refuse_if_killed(const char* op) const {
  if (is_killed()) throw ApplianceKilled(op, death(), ENOTCONN);
}

GUESTKIT_INLINE void forced_end::fail(const char* op, const std::string& message, int number,
                                      const std::vector<std::string>& console) const {
  if (is(kind::timed_out)) {
    const bool usable = !is_killed();
    const auto text = "took longer than " + shown(exceeded_.time) + " (" + exceeded_.name +
                      ") and was stopped; " +
                      (usable ? "the handle can be used" : "the appliance was killed, open a new handle");
    throw CallTimeout(op, text, ETIMEDOUT, exceeded_.cause, exceeded_.time, exceeded_.name, console, usable);
  }
  if (is_killed()) throw ApplianceKilled(op, death(), number, console);
  throw Error(op, number == EINTR || message.empty() ? "cancelled" : message, number == 0 ? EINTR : number);
}

GUESTKIT_INLINE std::string forced_end::death() const {
  return "the appliance was killed: " + killed_ + "; open a new handle";
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
