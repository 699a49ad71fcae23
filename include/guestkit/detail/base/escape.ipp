#pragma once

#include "guestkit/detail/base/escape.hpp"

namespace guestkit::inline GUESTKIT_FORM {

namespace detail {

inline bool is_control(char c) noexcept {
  return (c >= 0 && c < ' ') || c == '\x7f';
}

inline void append_escaped(std::string& text, char c) {
  constexpr std::string_view digits = "0123456789abcdef";
  const auto byte = static_cast<unsigned char>(c);
  text += {'\\', 'x', digits[byte >> 4U], digits[byte & 15U]};
}

GUESTKIT_INLINE std::string excerpt(std::string_view text) {
  constexpr std::size_t most = 120;
  return '"' + printable(text.substr(0, most)) + (text.size() > most ? "…\"" : "\"");
}

GUESTKIT_INLINE std::string in_quotes(std::string_view text) {
  constexpr std::size_t most = 200;
  std::string quoted = "\"";
  for (const char c : text.substr(0, most)) {
    if (is_control(c))
      append_escaped(quoted, c);
    else
      quoted += c;
  }
  return quoted + (text.size() > most ? "…\"" : "\"");
}

GUESTKIT_INLINE std::string shown(const std::string& path) {
  if (path.empty()) return "''";
  for (const char c : path)
    if (is_control(c)) return in_quotes(path);
  return path;
}

}  // namespace detail

GUESTKIT_INLINE std::string printable(std::string_view text, bool breaks) {
  std::string line;
  for (const char c : text) {
    const bool is_visible = (c >= ' ' && c <= '~') || (breaks && (c == '\n' || c == '\r'));
    if (is_visible)
      line += c;
    else
      detail::append_escaped(line, c);
  }
  return line;
}

}  // namespace guestkit::inline GUESTKIT_FORM
