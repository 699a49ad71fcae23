// Lists of packages, and the databases of dpkg, apk and pacman read as libguestfs does. What libguestfs might
// read differently is a doubt.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/generated/inspection.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// How many packages are read of a database.
inline constexpr std::size_t most_packages = 100'000;

/// Packages, and what is missing among them.
struct package_list {
  std::vector<InspectedApplication> packages = {};
  std::size_t left_out = 0;
  std::string reason = {};  ///< of the first one that was left out

  void leave_out(const std::string& why);
};

void sort_by_name(std::vector<InspectedApplication>& all);

/// dpkg's status file as libguestfs reads it: in pieces of at most 1023 bytes, each treated as a line. But
/// the last package needs no empty line behind it, as for dpkg. One that is cut off is left out: it lacks its
/// version or status, or, as the last line, the end of it. Here and below, with what libguestfs leaves out:
/// publisher, licence and source.
package_list dpkg_applications(std::string_view text);

/// apk's database of installed packages, likewise.
package_list apk_applications(std::string_view text);

/// A pacman package, from its own file; it is left out if something is missing in the file.
package_list pacman_applications(std::string_view text);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/package_rules.ipp"
#endif
