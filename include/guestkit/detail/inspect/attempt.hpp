// Which errors end only one call, and which end the whole task.
#pragma once

#include <functional>
#include <optional>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/error.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Whether the error ends the whole task and not only the call that failed.
bool is_final(const Error& error) noexcept;

/// Runs body; returns its error, if any. Throws an error that ends the whole task.
std::optional<Error> attempt(const std::function<void()>& body);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/attempt.ipp"
#endif
