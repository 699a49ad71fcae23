// Reads whole texts: lists of lines and words, and configuration files of KEY=value lines. Like the readers
// of text.hpp, these take what they understand and skip the rest.
//
// A returned string_view points into the text that was passed.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

std::vector<std::string_view> lines_of(std::string_view text);
std::vector<std::string> words_of(std::string_view text);

/// The first line that is neither blank nor a comment.
std::string first_line(std::string_view text);

/// KEY=value lines, as in os-release(5), locale.conf(5) and Red Hat's ifcfg files. The last value of a key
/// wins.
std::map<std::string, std::string> assignments(std::string_view text);

std::string value_or_empty(const std::map<std::string, std::string>& values, const std::string& key);

/// The values of a section of an ini file. A repeated key keeps all of them, in their order.
using ini_values = std::multimap<std::string, std::string>;

/// Sections by their names, one for each heading; the first, without a name, is for what stands before all.
using ini_sections = std::vector<std::pair<std::string, ini_values>>;

ini_sections sections(std::string_view text);

/// The last value of a key, which counts for GLib, and for systemd unless the key is a list; empty if there
/// is none.
std::string last_of(const ini_values& values, const std::string& key);

/// The same, of all sections with that name.
std::string last_of(const ini_sections& all, std::string_view section, const std::string& key);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/base/lines.ipp"
#endif
