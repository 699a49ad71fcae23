// Splits text from the kernel, a guest or a user piece by piece into lines, words and numbers. A reader
// takes what it understands and skips the rest: such text may be hostile.
//
// A returned string_view points into the text that was passed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Without leading and trailing blanks and line breaks.
std::string_view trimmed(std::string_view text);

/// An ASCII letter in lower case, whatever the locale; any other byte as it is.
constexpr char lower_case(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}
std::string in_lower_case(std::string text);

/// Whether it is a digit or a letter of ASCII, whatever the locale.
constexpr bool is_ascii_alnum(char c) noexcept {
  return (c >= '0' && c <= '9') || (lower_case(c) >= 'a' && lower_case(c) <= 'z');
}

/// Appends a character of Unicode. Of half a surrogate pair it makes bytes that are no UTF-8.
void append_utf8(std::string& text, std::uint32_t point);

/// Appends the byte's two digits in lower case.
void append_hex(std::string& text, std::uint8_t byte);

/// Removes the text up to and including the first of the separators and returns it without the separator;
/// takes all of it if there is none.
std::string_view take_until(std::string_view& text, std::string_view separators);
std::string_view take_until(std::string_view& text, char separator);

/// Removes and returns the next word: the characters up to a blank or a line break.
std::string_view take_word(std::string_view& text);

/// Parses the whole text as a decimal number. Returns whether it is one.
bool read_number(std::string_view text, std::uint64_t& number);

/// The whole text as a number, which may be negative.
std::optional<std::int64_t> number_of(std::string_view text);

/// Whether the text is in quotes, single or double.
constexpr bool is_quoted(std::string_view text) noexcept {
  return text.size() >= 2 && (text.front() == '"' || text.front() == '\'') && text.back() == text.front();
}

/// Without surrounding quotes, and without the backslashes that escape characters in double quotes.
std::string unquoted(std::string_view text);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/base/text.ipp"
#endif
