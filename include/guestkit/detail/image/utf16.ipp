#pragma once

#include "guestkit/detail/image/utf16.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE std::string utf16(const image_block& block, std::size_t at, std::size_t size,
                                  byte_order order) {
  std::string text;
  for (std::size_t i = at; i + 1 < at + size; i += 2) {
    const unsigned unit = order == byte_order::big ? block.be16(i) : block.le16(i);
    if (unit == 0) break;
    if (unit < 0x80) {
      text += static_cast<char>(unit);
    } else if (unit < 0x800) {
      text += static_cast<char>(0xC0U | unit >> 6U);
      text += static_cast<char>(0x80U | (unit & 63U));
    } else {
      text += static_cast<char>(0xE0U | unit >> 12U);
      text += static_cast<char>(0x80U | (unit >> 6U & 63U));
      text += static_cast<char>(0x80U | (unit & 63U));
    }
  }
  return text;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
