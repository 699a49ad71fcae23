// What the program that shuts QEMU and its tools in is told of the cage.
#pragma once

#include <unistd.h>

#include <string>
#include <vector>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// A file of this process that a program in a cage gets under the same number.
struct caged_file {
  int number = -1;
  bool writes = false;  ///< whether the program writes to it
};

/// The value of -guestkit-cage, as appliance/cage.hpp has its form.
/// @param directory  for the program's temporary files
inline std::string cage_value(const std::vector<caged_file>& files, const std::string& directory) {
  std::string all;
  for (const auto& [number, writes] : files)
    all += (all.empty() ? "" : ",") + std::to_string(number) + (writes ? "w" : "");
  return std::to_string(::getpid()) + ':' + all + ':' + directory;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
