#pragma once

#include <unistd.h>

#include <cstddef>
#include <string_view>

#include "guestkit/detail/launch/hypervisor_name.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE std::string harmless_name(std::string path) {
  constexpr std::size_t before = 80, around = 220;  // of the rest: less and more than it is in any version
  std::size_t length = path.size();
  for (const char c : path)
    if (std::string_view("$`\\\"").find(c) != std::string_view::npos) ++length;  // gets a backslash
  const auto slash = path.find('/');
  if (length <= 60 || slash == std::string::npos) return path;  // all of it fits
  if (::access(path.c_str(), X_OK) != 0) return path;           // it will not be run
  std::size_t size = 512;
  while (length + around > size) size *= 2;
  if (const auto least = size / 2 - before; length < least) path.insert(slash, least - length, '/');
  return path;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
