// UTF-16, as Windows has it in its registries and its disk images.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

enum class byte_order { big, little };

/// The text as UTF-8; nothing if it is no UTF-16, such as half a surrogate pair.
std::optional<std::string> utf8_of_utf16(std::string_view bytes, byte_order order = byte_order::little);

/// The text up to its first NUL; in a field of a fixed size there may be anything behind that.
std::string_view utf16_before_nul(std::string_view bytes) noexcept;

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/base/utf16.ipp"
#endif
