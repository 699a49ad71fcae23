// What guestkit's own rules throw where they are not sure of a guest. It is no Error: nothing has failed, and
// whoever catches it asks somebody else, or reports that part as unknown.
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
