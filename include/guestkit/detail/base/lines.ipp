#pragma once

#include <iterator>

#include "guestkit/detail/base/lines.hpp"
#include "guestkit/detail/base/text.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) lines.push_back(take_until(text, '\n'));
  return lines;
}

GUESTKIT_INLINE std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  for (auto word = take_word(text); !word.empty(); word = take_word(text)) words.emplace_back(word);
  return words;
}

GUESTKIT_INLINE std::string first_line(std::string_view text) {
  for (const auto line : lines_of(text))
    if (const auto said = trimmed(line); !said.empty() && said.front() != '#') return std::string(said);
  return {};
}

GUESTKIT_INLINE std::map<std::string, std::string> assignments(std::string_view text) {
  std::map<std::string, std::string> values;
  for (auto line : lines_of(text)) {
    line = trimmed(line);
    if (line.empty() || line.front() == '#' || line.find('=') == std::string_view::npos) continue;
    const auto key = take_until(line, '=');
    values.insert_or_assign(std::string(trimmed(key)), unquoted(trimmed(line)));
  }
  return values;
}

GUESTKIT_INLINE std::string value_or_empty(const std::map<std::string, std::string>& values,
                                           const std::string& key) {
  const auto found = values.find(key);
  return found == values.end() ? std::string() : found->second;
}

GUESTKIT_INLINE ini_sections sections(std::string_view text) {
  ini_sections all(1);
  for (auto line : lines_of(text)) {
    line = trimmed(line);
    if (line.empty() || line.front() == '#' || line.front() == ';') continue;
    if (line.front() == '[' && line.back() == ']') {
      all.emplace_back().first = line.substr(1, line.size() - 2);
    } else if (line.find('=') != std::string_view::npos) {
      const auto key = take_until(line, '=');
      all.back().second.emplace(trimmed(key), trimmed(line));
    }
  }
  return all;
}

GUESTKIT_INLINE std::string last_of(const ini_values& values, const std::string& key) {
  const auto [begin, end] = values.equal_range(key);
  return begin == end ? std::string() : std::prev(end)->second;
}

GUESTKIT_INLINE std::string last_of(const ini_sections& all, std::string_view section,
                                    const std::string& key) {
  std::string last;
  for (const auto& [name, values] : all)
    if (name == section && values.contains(key)) last = last_of(values, key);
  return last;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
