#pragma once

#include "guestkit/appliance_limit.hpp"
#include "guestkit/detail/turn/admission.hpp"

namespace guestkit::inline GUESTKIT_FORM {

GUESTKIT_INLINE void set_appliance_limit(std::optional<unsigned> limit) {
  detail::admission::shared().set_limit(limit);
}

}  // namespace guestkit::inline GUESTKIT_FORM
