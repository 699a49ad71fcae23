// Names in the headers of VHD and VHDX.
#pragma once

#include <cstddef>
#include <string>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/image/file.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

enum class byte_order { big, little };

/// The text as UTF-8, up to its first NUL. The halves of a surrogate pair are converted one by one: the name
/// is only for a message.
/// @param at, size  in bytes
std::string utf16(const image_block& block, std::size_t at, std::size_t size, byte_order order);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/image/utf16.ipp"
#endif
