#pragma once

#include "guestkit/detail/inspect/rule_versions.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE libguestfs_version numbers_of(const Version& version) {
  return {version.major, version.minor, version.release};
}

GUESTKIT_INLINE std::string unknown_rules(const Version& version) {
  const auto numbers = numbers_of(version);
  std::string proven;
  for (const auto& [from, before] : all_proven_versions) {
    if (version.extra.empty() && from <= numbers && numbers < before) return "";
    proven += (proven.empty() ? "" : " and ") + std::to_string(from[0]) + '.' + std::to_string(from[1]);
  }
  return "guestkit's rules of inspection are those of libguestfs " + proven + ", not of " +
         std::to_string(version.major) + '.' + std::to_string(version.minor) + '.' +
         std::to_string(version.release) + version.extra;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
