// Pieces of texts that come from the kernel, a guest or a user: lines, words, numbers, assignments. A reader
// takes what it understands and leaves out the rest: such texts may be hostile.
//
// A string_view that is returned points into the text that was given.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Without blanks and line breaks at both ends.
std::string_view trimmed(std::string_view text);

/// Takes the text up to the first of the separators away from it, and the separator too; all of it if there
/// is none.
std::string_view take_until(std::string_view& text, std::string_view separators);
std::string_view take_until(std::string_view& text, char separator);

/// Takes the next word away from the text: what stands between blanks and line breaks.
std::string_view take_word(std::string_view& text);

std::vector<std::string_view> lines_of(std::string_view text);
std::vector<std::string> words_of(std::string_view text);

/// Reads the number that the text is, in decimal digits. Returns whether it is one.
bool read_number(std::string_view text, std::uint64_t& number);

/// The number that the text is; it may be negative.
std::optional<std::int64_t> number_of(std::string_view text);

/// Without the quotes around it, and without the backslashes that double quotes need.
std::string unquoted(std::string_view text);

/// The first line that says something: neither blank nor a comment.
std::string first_line(std::string_view text);

/// KEY=value lines, as in os-release(5), locale.conf(5) and Red Hat's ifcfg files. The last one of a key
/// counts.
std::map<std::string, std::string> assignments(std::string_view text);

std::string value_or_empty(const std::map<std::string, std::string>& values, const std::string& key);

/// The sections of an ini file; a key that stands there twice keeps all its values.
std::map<std::string, std::multimap<std::string, std::string>> sections(std::string_view text);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/base/text.ipp"
#endif
