#pragma once

#include <cstdint>

#include "guestkit/detail/base/endian.hpp"
#include "guestkit/detail/base/text.hpp"
#include "guestkit/detail/base/utf16.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE std::optional<std::string> utf8_of_utf16(std::string_view bytes, byte_order order) {
  if (bytes.size() % 2 != 0) return std::nullopt;
  const auto unit = [&](std::size_t at) {
    const auto two = bytes.substr(at, 2);
    return static_cast<std::uint32_t>(order == byte_order::big ? big_endian(two) : little_endian(two));
  };
  std::string text;
  for (std::size_t at = 0; at < bytes.size(); at += 2) {
    auto point = unit(at);
    if (point >= 0xDC00U && point < 0xE000U) return std::nullopt;
    if (point >= 0xD800U && point < 0xDC00U) {
      at += 2;
      if (at == bytes.size()) return std::nullopt;
      const auto low = unit(at);
      if (low < 0xDC00U || low >= 0xE000U) return std::nullopt;
      point = 0x10000U + ((point - 0xD800U) << 10U) + (low - 0xDC00U);
    }
    append_utf8(text, point);
  }
  return text;
}

GUESTKIT_INLINE std::string_view utf16_before_nul(std::string_view bytes) noexcept {
  std::size_t end = 0;
  while (end + 2 <= bytes.size() && (bytes[end] != '\0' || bytes[end + 1] != '\0')) end += 2;
  return bytes.substr(0, end);
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
