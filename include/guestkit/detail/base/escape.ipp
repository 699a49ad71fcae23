#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/base/text.hpp"

namespace guestkit::inline GUESTKIT_FORM {

namespace detail {

inline void append_escaped(std::string& text, char c) {
  text += "\\x";
  append_hex(text, static_cast<std::uint8_t>(c));
}

/// The character at the beginning of a text that is not empty.
struct utf8_character {
  std::uint32_t point = 0;
  std::size_t size = 0;  ///< in bytes; 0: they are no UTF-8
};

inline utf8_character first_character(std::string_view text) noexcept {
  const auto lead = static_cast<unsigned char>(text.front());
  if (lead < 0x80) return {lead, 1};
  // Shorter forms of a character, surrogates and what lies beyond Unicode are no UTF-8.
  constexpr std::array<std::uint32_t, 5> least{0, 0, 0x80, 0x800, 0x10000};
  const std::size_t size = lead >= 0xF8 ? 0 : lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 0;
  if (size == 0 || size > text.size()) return {};
  std::uint32_t point = lead & (0x7FU >> size);
  for (const char c : text.substr(1, size - 1)) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte & 0xC0U) != 0x80U) return {};
    point = point << 6U | (byte & 0x3FU);
  }
  const bool is_surrogate = point >= 0xD800 && point <= 0xDFFF;
  if (point < least.at(size) || point > 0x10FFFF || is_surrogate) return {};
  return {point, size};
}

/// Whether a terminal shows it as itself: no control character, and none that is invisible or turns the
/// direction of writing.
inline bool is_visible(std::uint32_t point) noexcept {
  constexpr std::uint32_t hidden[][2]{
      {0x00, 0x1F},     {0x7F, 0x9F},       {0xAD, 0xAD},      {0x600, 0x605},   {0x61C, 0x61C},
      {0x180E, 0x180E}, {0x200B, 0x200F},   {0x2028, 0x202E},  {0x2060, 0x206F}, {0xFEFF, 0xFEFF},
      {0xFFF9, 0xFFFB}, {0x1D173, 0x1D17A}, {0xE0000, 0xE0FFF}};
  return std::ranges::none_of(hidden,
                              [point](const auto& range) { return range[0] <= point && point <= range[1]; });
}

GUESTKIT_INLINE std::string visible(std::string_view text, bool latin) {
  std::string line;
  while (!text.empty()) {
    const auto [point, size] = first_character(text);
    const auto bytes = text.substr(0, std::max<std::size_t>(size, 1));
    text.remove_prefix(bytes.size());
    const bool is_kept =
        size == 0 ? latin && static_cast<unsigned char>(bytes[0]) >= 0xA0 : is_visible(point);
    if (is_kept)
      line += bytes;
    else
      for (const char c : bytes) append_escaped(line, c);
  }
  return line;
}

GUESTKIT_INLINE std::string excerpt(std::string_view text) {
  constexpr std::size_t most = 120;
  return '"' + printable(text.substr(0, most)) + (text.size() > most ? "…\"" : "\"");
}

GUESTKIT_INLINE std::string in_quotes(std::string_view text) {
  std::size_t end = 200;
  if (end >= text.size()) return '"' + visible(text) + '"';
  for (int i = 0; i < 3 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U; ++i)
    --end;  // not in the middle of a character
  return '"' + visible(text.substr(0, end)) + "…\"";
}

GUESTKIT_INLINE std::string shown(const std::string& path) {
  if (path.empty()) return "''";
  return visible(path, true) == path ? path : in_quotes(path);  // old names are in Latin-1
}

}  // namespace detail

GUESTKIT_INLINE std::string printable(std::string_view text, bool breaks) {
  std::string line;
  for (const char c : text) {
    const bool is_kept = (c >= ' ' && c <= '~') || (breaks && (c == '\n' || c == '\r'));
    if (is_kept)
      line += c;
    else
      detail::append_escaped(line, c);
  }
  return line;
}

}  // namespace guestkit::inline GUESTKIT_FORM
