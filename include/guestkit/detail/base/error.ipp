#pragma once

#include <cstring>

#include "guestkit/error.hpp"

namespace guestkit::inline GUESTKIT_FORM {

GUESTKIT_INLINE std::string Error::reason(const std::string& op, const std::string& message,
                                          int error_number) {
  std::string text = message.starts_with(op + ": ") ? message.substr(op.size() + 2) : message;
  if (!text.empty()) return text;
  if (error_number != 0) return std::strerror(error_number);
  return "the call failed and libguestfs gave no reason";
}

GUESTKIT_INLINE Cause CallTimeout::cause_of(std::string_view clock) noexcept {
  for (const auto cause :
       {Cause::launch_timeout, Cause::call_timeout, Cause::queue_timeout, Cause::admission_timeout})
    if (clock == to_string(cause)) return cause;
  return Cause::unknown;
}

}  // namespace guestkit::inline GUESTKIT_FORM
