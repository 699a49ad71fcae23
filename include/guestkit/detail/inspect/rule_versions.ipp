#pragma once

#include "guestkit/detail/inspect/rule_versions.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE libguestfs_version numbers_of(const Version& version) {
  return {version.major, version.minor, version.release};
}

inline std::string text_of(const libguestfs_version& numbers) {
  return std::to_string(numbers[0]) + '.' + std::to_string(numbers[1]) + '.' + std::to_string(numbers[2]);
}

GUESTKIT_INLINE std::string unknown_rules(const Version& version) {
  const auto numbers = numbers_of(version);
  std::string proven;
  for (const auto& [from, before] : all_proven_versions) {
    if (version.extra.empty() && from <= numbers && numbers < before) return "";
    proven += (proven.empty() ? "" : ", ") + text_of(from) + " to " + std::to_string(from[0]) + '.' +
              std::to_string(from[1]) + ".x";
  }
  return "guestkit's rules of inspection are those of libguestfs " + proven + ", not of " + text_of(numbers) +
         (version.extra.empty() ? "" : version.extra + ", which its distribution has changed");
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
