#pragma once

#include <cstddef>

#include "guestkit/detail/inspect/blkid.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE bool is_ambiguous(std::string_view answer) {
  return answer.find('^') != std::string_view::npos || answer.find("M-") != std::string_view::npos;
}

GUESTKIT_INLINE std::string without_backslashes(std::string_view answer) {
  std::string text;
  for (std::size_t i = 0; i < answer.size(); ++i) {
    if (answer[i] == '\\' && i + 1 < answer.size()) ++i;
    text += answer[i];
  }
  return text;
}

/// Removes a byte that blkid wrote as M-… from the beginning of the answer. Returns whether there was one.
inline bool cut_high_byte(std::string_view& answer, std::string& bytes) {
  auto rest = answer;
  if (!rest.starts_with("M-")) return false;
  rest.remove_prefix(2);
  if (rest.size() > 1 && rest[0] == '\\') rest.remove_prefix(1);
  if (rest.empty()) return false;
  auto low = static_cast<unsigned char>(rest[0]);
  if (low == '^' && rest.size() > 1) {
    rest.remove_prefix(1);
    low = static_cast<unsigned char>(static_cast<unsigned char>(rest[0]) ^ 0x40U);
  }
  bytes += static_cast<char>(low | 0x80U);
  answer = rest.substr(1);
  return true;
}

/// The length of a UTF-8 character that begins with this byte; 0 if none does.
inline std::size_t utf8_length(char first) {
  const auto byte = static_cast<unsigned char>(first);
  if (byte >= 0xf0U && byte < 0xf5U) return 4;
  if (byte >= 0xe0U) return byte < 0xf0U ? 3 : 0;
  return byte >= 0xc2U ? 2 : 0;
}

GUESTKIT_INLINE std::string partition_name(std::string_view answer) {
  std::string name;
  while (!answer.empty()) {
    auto rest = answer;
    std::string bytes;
    std::size_t wanted = 1;
    while (bytes.size() < wanted && cut_high_byte(rest, bytes)) {
      if (bytes.size() == 1) wanted = utf8_length(bytes[0]);
      const bool continues = (static_cast<unsigned char>(bytes.back()) & 0xc0U) == 0x80U;
      if (bytes.size() > 1 && !continues) wanted = 0;
    }
    if (wanted > 1 && bytes.size() == wanted) {
      name += bytes;
      answer = rest;
      continue;
    }
    const std::size_t taken = answer[0] == '\\' && answer.size() > 1 ? 2 : 1;
    name += answer[taken - 1];
    answer.remove_prefix(taken);
  }
  return name;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
