#pragma once

#include <cerrno>

#include "guestkit/appliance_limit.hpp"
#include "guestkit/detail/turn/admission.hpp"
#include "guestkit/error.hpp"

namespace guestkit::inline GUESTKIT_FORM {

GUESTKIT_INLINE void set_appliance_limit(std::optional<unsigned> limit) {
  if (limit == 0U) throw Error("set_appliance_limit", "at least 1 appliance must be allowed, not 0", EINVAL);
  detail::admission::shared().set_limit(limit);
}

}  // namespace guestkit::inline GUESTKIT_FORM
