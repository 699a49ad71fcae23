#pragma once

#include <string>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Thrown where guestkit's own rules must not decide about a guest, so that libguestfs, or a program of the
/// appliance, is asked.
struct doubt {
  std::string reason;
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail
