#pragma once

#include <charconv>
#include <system_error>

#include "guestkit/detail/base/text.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

inline constexpr std::string_view white_space = " \t\r\n";

GUESTKIT_INLINE std::string_view trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(white_space);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(white_space) - begin + 1);
}

GUESTKIT_INLINE std::string in_lower_case(std::string text) {
  for (char& c : text) c = lower_case(c);
  return text;
}

GUESTKIT_INLINE void append_hex(std::string& text, std::uint8_t byte) {
  constexpr std::string_view digits = "0123456789abcdef";
  text += {digits[byte >> 4U], digits[byte & 15U]};
}

GUESTKIT_INLINE void append_utf8(std::string& text, std::uint32_t point) {
  const auto add = [&](std::uint32_t byte) { text += static_cast<char>(byte); };
  if (point < 0x80U) return add(point);
  if (point < 0x800U) {
    add(0xC0U | point >> 6U);
  } else {
    if (point < 0x10000U) {
      add(0xE0U | point >> 12U);
    } else {
      add(0xF0U | point >> 18U);
      add(0x80U | (point >> 12U & 0x3FU));
    }
    add(0x80U | (point >> 6U & 0x3FU));
  }
  add(0x80U | (point & 0x3FU));
}

GUESTKIT_INLINE std::string_view take_until(std::string_view& text, std::string_view separators) {
  const auto end = text.find_first_of(separators);
  const auto part = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return part;
}

GUESTKIT_INLINE std::string_view take_until(std::string_view& text, char separator) {
  return take_until(text, std::string_view(&separator, 1));
}

GUESTKIT_INLINE std::string_view take_word(std::string_view& text) {
  const auto begin = text.find_first_not_of(white_space);
  text.remove_prefix(begin == std::string_view::npos ? text.size() : begin);
  const auto end = text.find_first_of(white_space);
  const auto word = text.substr(0, end);
  text.remove_prefix(word.size());
  return word;
}

/// Whether the whole text is a number; if so, reads it.
template <class Number>
bool is_number(std::string_view text, Number& number) {
  const auto* const end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, number);
  return result.ec == std::errc() && result.ptr == end;
}

GUESTKIT_INLINE bool read_number(std::string_view text, std::uint64_t& number) {
  number = 0;
  return is_number(text, number);
}

GUESTKIT_INLINE std::optional<std::int64_t> number_of(std::string_view text) {
  std::int64_t number = 0;
  if (!is_number(text, number)) return std::nullopt;
  return number;
}

GUESTKIT_INLINE std::string unquoted(std::string_view text) {
  if (!is_quoted(text)) return std::string(text);
  const bool escapes = text.front() == '"';
  std::string plain;
  for (std::size_t i = 1; i + 1 < text.size(); ++i) {
    if (escapes && text[i] == '\\' && i + 2 < text.size()) ++i;
    plain += text[i];
  }
  return plain;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
