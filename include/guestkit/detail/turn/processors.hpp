// How many processors this process has.
#pragma once

#include <string>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// How many processors this process may use, at least 1: those of its affinity, and no more than the quotas
/// of its control groups, v1 and v2, rounded up.
/// @param root  of the file system to read; tests have their own
unsigned available_processors(const std::string& root = "");

/// The same with the number that the affinity permits.
unsigned processors_within_quotas(unsigned count, const std::string& root);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/turn/processors.ipp"
#endif
