// Which errors end one call only, and which the whole work.
#pragma once

#include <functional>
#include <optional>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/error.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Whether the error is the end of the whole work and not only of the call that failed.
bool is_final(const Error& error) noexcept;

/// Does it; returns the error that it ended with. Throws that error if it is the end of the whole work.
std::optional<Error> attempt(const std::function<void()>& body);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/attempt.ipp"
#endif
