#pragma once

#include <algorithm>

#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/base/lines.hpp"
#include "guestkit/detail/base/text.hpp"
#include "guestkit/detail/inspect/fstab.hpp"
#include "guestkit/detail/inspect/report.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Enough for two paths and the options, each as long as the kernel allows.
inline constexpr std::size_t most_fstab_line = 16384;

GUESTKIT_INLINE InspectFailure line_failure(std::size_t line, const std::string& why) {
  return {.part = "mountpoints", .message = "/etc/fstab, line " + std::to_string(line) + ": " + why};
}

GUESTKIT_INLINE std::string without_octal_escapes(std::string_view text) {
  const auto is_octal = [](char c) { return c >= '0' && c <= '7'; };
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && text[i + 1] <= '3' && is_octal(text[i + 1]) &&
        is_octal(text[i + 2]) && is_octal(text[i + 3])) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

GUESTKIT_INLINE std::optional<std::string> option_of(std::string_view options, std::string_view name) {
  std::optional<std::string> value;
  while (!options.empty()) {
    auto option = take_until(options, ',');
    if (take_until(option, '=') == name) value = std::string(option);
  }
  return value;
}

/// Whether augeas, and thus libguestfs, is sure to read the line as mount(8) does.
inline bool is_plain_line(std::string_view line, const std::vector<std::string>& words) {
  const auto plain = [](std::string_view word, std::string_view more) {
    return !word.empty() && std::all_of(word.begin(), word.end(), [&](char c) {
      return is_ascii_alnum(c) || more.find(c) != std::string_view::npos;
    });
  };
  const auto is_options = [&](std::string_view options) {
    if (options.ends_with(',')) return false;
    while (!options.empty()) {
      const auto option = take_until(options, ',');
      if (!plain(option, "=-_./:@%+") || option.starts_with('=') || option.ends_with('=') ||
          std::count(option.begin(), option.end(), '=') > 1)
        return false;
    }
    return true;
  };
  const auto is_blank = [](char c) { return c == ' ' || c == '\t'; };
  const auto is_digit = [](const std::string& word) {
    return word.size() == 1 && word[0] >= '0' && word[0] <= '9';
  };
  return !is_blank(line.front()) && !is_blank(line.back()) && words.size() >= 4 && words.size() <= 6 &&
         plain(words[0], "=-_./:@") && plain(words[1], "-_./") && plain(words[2], "-_.") &&
         is_options(words[3]) && (words.size() < 5 || is_digit(words[4])) &&
         (words.size() < 6 || is_digit(words[5]));
}

inline std::vector<std::string> fields_of(std::string_view line) {
  std::vector<std::string> words;
  while (!line.empty())
    if (const auto word = take_until(line, " \t"); !word.empty()) words.emplace_back(word);
  return words;
}

/// Why mount(8) ignores a line with these words; nothing if it does not.
inline std::optional<std::string> fault_of_line(std::string_view line,
                                                const std::vector<std::string>& words) {
  if (line.size() > most_fstab_line) return "has " + std::to_string(line.size()) + " bytes";
  if (line.find('\0') != std::string_view::npos) return "has a NUL byte";
  if (words.size() < 3) return "needs a device, a mountpoint and a type";
  for (std::size_t i = 4; i < std::min<std::size_t>(words.size(), 6); ++i)
    if (!number_of(words[i]))
      return excerpt(words[i]) + " stands where a number belongs (a blank in a field is written \\040)";
  for (const auto& word : words)
    if (without_octal_escapes(word).find('\0') != std::string::npos) return "has a NUL byte";
  const auto file = without_octal_escapes(words[1]);
  if (!file.starts_with('/') && words[2] != "swap" && file != "none" && file != "swap" && file != "-")
    return "the mountpoint " + excerpt(file) + " is no absolute path";
  return std::nullopt;
}

inline fstab_entry entry_of(std::size_t line, std::vector<std::string> words, bool plain) {
  words.resize(4);
  return {.line = line,
          .spec = without_octal_escapes(words[0]),
          .file = without_octal_escapes(words[1]),
          .type = words[2],
          .options = without_octal_escapes(words[3]),
          .plain = plain};
}

GUESTKIT_INLINE fstab_lines fstab_of(std::string_view text, bool whole) {
  fstab_lines found;
  few_failures unread(found.failures);
  std::size_t number = 0, taken = 0;
  const auto stop = [&](const std::string& why) {
    found.breaks_augeas = found.is_cut = true;
    found.failures.push_back(line_failure(number, why + "; this line and those that follow were left out"));
  };
  while (!text.empty()) {
    ++number;
    const bool ends = text.find('\n') != std::string_view::npos;
    auto line = take_until(text, '\n');
    if (!ends && !whole) {
      stop("the file is larger than " + std::to_string(most_fstab_bytes) + " bytes");
      break;
    }
    if (line.ends_with('\r')) {
      line.remove_suffix(1);
      found.breaks_augeas = true;
    }
    const auto words = fields_of(line);
    if (words.empty() || words[0].starts_with('#')) continue;
    if (++taken > most_fstab_entries) {
      stop("more than " + std::to_string(most_fstab_entries) + " entries");
      break;
    }
    if (const auto fault = fault_of_line(line, words)) {
      found.breaks_augeas = true;
      unread.add(line_failure(number, "cannot be read: " + *fault + ": " + excerpt(line)));
    } else {
      found.entries.push_back(entry_of(number, words, ends && is_plain_line(line, words)));
    }
  }
  unread.add_rest("/etc/fstab: ", " more lines cannot be read");
  return found;
}

GUESTKIT_INLINE std::map<std::string, std::string> crypttab_of(std::string_view text) {
  std::map<std::string, std::string> devices;
  for (const auto line : lines_of(text)) {
    const auto words = words_of(line);
    if (words.size() >= 2 && !words[0].starts_with('#')) devices.emplace(words[0], words[1]);
  }
  return devices;
}

GUESTKIT_INLINE bool is_ignored(const fstab_entry& entry) {
  const auto& spec = entry.spec;
  const auto numbered = [&](std::string_view prefix) {
    return spec.starts_with(prefix) && spec.size() > prefix.size() && spec[prefix.size()] >= '0' &&
           spec[prefix.size()] <= '9';
  };
  if (numbered("/dev/fd") || numbered("/dev/cd") || spec == "/dev/floppy" || spec == "/dev/cdrom" ||
      spec.starts_with("/dev/iso9660/"))
    return true;
  const auto& file = entry.file;
  for (const std::string_view place : {"/dev", "/proc", "/selinux", "/sys"})
    if (file == place || (file.starts_with(place) && file[place.size()] == '/')) return true;
  return file.starts_with("/media/");
}

GUESTKIT_INLINE std::optional<std::string> plain_path(std::string_view path) {
  if (!path.starts_with('/')) return std::nullopt;
  std::string plain;
  while (!path.empty()) {
    const auto name = take_until(path, '/');
    if (name == "..") return std::nullopt;
    if (!name.empty() && name != ".") plain.append("/").append(name);
  }
  return plain.empty() ? "/" : plain;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
