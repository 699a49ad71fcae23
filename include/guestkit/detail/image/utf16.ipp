#pragma once

#include "guestkit/detail/base/text.hpp"
#include "guestkit/detail/image/utf16.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE std::string utf16(const image_block& block, std::size_t at, std::size_t size,
                                  byte_order order) {
  std::string text;
  for (std::size_t i = at; i + 1 < at + size; i += 2) {
    const unsigned unit = order == byte_order::big ? block.be16(i) : block.le16(i);
    if (unit == 0) break;
    append_utf8(text, unit);
  }
  return text;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
