// Which errors end only one call, and which end the whole task.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/error.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Whether the error ends the whole task and not only the call that failed.
bool is_final(const Error& error) noexcept;

/// Runs body; returns its error, if any. Throws an error that ends the whole task.
std::optional<Error> error_of(const std::function<void()>& body);

/// The same; a doubt that body throws does not leave it, either.
/// @param on_doubt  is called with the reason
std::optional<Error> error_of(const std::function<void()>& body,
                              const std::function<void(const std::string& reason)>& on_doubt);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/base/error_of.ipp"
#endif
