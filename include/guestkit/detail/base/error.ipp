#pragma once

#include <cstring>
#include <string_view>

#include "guestkit/error.hpp"

namespace guestkit::inline GUESTKIT_FORM {

/// The message without the action's name in front, or the one that the action has inside libguestfs.
inline std::string_view without_op(std::string_view op, std::string_view message) {
  auto rest = message;
  if (constexpr std::string_view internal = "internal_"; !rest.starts_with(op) && rest.starts_with(internal))
    rest.remove_prefix(internal.size());
  if (!rest.starts_with(op)) return message;
  rest.remove_prefix(op.size());
  if (rest.starts_with("0")) rest.remove_prefix(1);
  return rest.starts_with(": ") ? rest.substr(2) : message;
}

GUESTKIT_INLINE std::string Error::reason(const std::string& op, const std::string& message,
                                          int error_number) {
  if (const auto text = without_op(op, message); !text.empty()) return std::string(text);
  if (error_number != 0) return std::strerror(error_number);
  return "the call failed and libguestfs gave no reason";
}

}  // namespace guestkit::inline GUESTKIT_FORM
