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

}  // namespace guestkit::inline GUESTKIT_FORM
