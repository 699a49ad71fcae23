// Splits text from the kernel, a guest or a user into lines, words, numbers and assignments. A reader takes
// what it understands and skips the rest: such text may be hostile.
//
// A returned string_view points into the text that was passed.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Without leading and trailing blanks and line breaks.
std::string_view trimmed(std::string_view text);

/// Removes the text up to and including the first of the separators and returns it without the separator;
/// takes all of it if there is none.
std::string_view take_until(std::string_view& text, std::string_view separators);
std::string_view take_until(std::string_view& text, char separator);

/// Removes and returns the next word: the characters up to a blank or a line break.
std::string_view take_word(std::string_view& text);

std::vector<std::string_view> lines_of(std::string_view text);
std::vector<std::string> words_of(std::string_view text);

/// Parses the whole text as a decimal number. Returns whether it is one.
bool read_number(std::string_view text, std::uint64_t& number);

/// The whole text as a number, which may be negative.
std::optional<std::int64_t> number_of(std::string_view text);

/// Without surrounding quotes, and without the backslashes that escape characters in double quotes.
std::string unquoted(std::string_view text);

/// The first line that is neither blank nor a comment.
std::string first_line(std::string_view text);

/// KEY=value lines, as in os-release(5), locale.conf(5) and Red Hat's ifcfg files. The last value of a key
/// wins.
std::map<std::string, std::string> assignments(std::string_view text);

std::string value_or_empty(const std::map<std::string, std::string>& values, const std::string& key);

/// The sections of an ini file; a repeated key keeps all its values.
std::map<std::string, std::multimap<std::string, std::string>> sections(std::string_view text);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/base/text.ipp"
#endif
