#pragma once

#include <cerrno>

#include "guestkit/detail/base/doubt.hpp"
#include "guestkit/detail/base/error_of.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE bool is_final(const Error& error) noexcept {
  return error.error_number() == EINTR || dynamic_cast<const ApplianceCrashed*>(&error) != nullptr ||
         dynamic_cast<const HandleClosed*>(&error) != nullptr ||
         dynamic_cast<const CallTimeout*>(&error) != nullptr;
}

GUESTKIT_INLINE std::optional<Error> error_of(const std::function<void()>& body) {
  try {
    body();
    return std::nullopt;
  } catch (const Error& error) {
    if (is_final(error)) throw;
    return error;
  }
}

GUESTKIT_INLINE std::optional<Error> error_of(
    const std::function<void()>& body, const std::function<void(const std::string& reason)>& on_doubt) {
  return error_of([&] {
    try {
      body();
    } catch (const doubt& why) {
      on_doubt(why.reason);
    }
  });
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
