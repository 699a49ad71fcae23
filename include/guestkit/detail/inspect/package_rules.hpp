// The package databases of dpkg, apk and pacman, read as libguestfs reads them. What might be read otherwise
// is a doubt.
#pragma once

#include <string_view>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/generated/inspection.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

void sort_by_name(std::vector<InspectedApplication>& all);

/// dpkg's status file as libguestfs reads it: in pieces of at most 1023 bytes, each taken for a line, and
/// without a last package that no empty line ends.
std::vector<InspectedApplication> dpkg_applications(std::string_view text);

/// apk's database of what is installed, likewise.
std::vector<InspectedApplication> apk_applications(std::string_view text);

/// A package of pacman, from the file that it has for each; none if something is missing in it.
std::vector<InspectedApplication> pacman_applications(std::string_view text);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/package_rules.ipp"
#endif
