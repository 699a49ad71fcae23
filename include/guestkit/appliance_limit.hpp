// How many appliances this process may run at once.
#pragma once

#include <optional>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM {

/// Limits how many appliances this process may run at once, even if there is memory for more. Further
/// launches wait, for at most Limits::admission. Nothing: as many as there is memory for. Throws Error
/// with EINVAL for 0. Threads: any.
void set_appliance_limit(std::optional<unsigned> limit);

}  // namespace guestkit::inline GUESTKIT_FORM

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/turn/appliance_limit.ipp"
#endif
