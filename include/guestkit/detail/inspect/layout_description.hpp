// Describes for the report what is beneath the files on the disks: partitions, layers, filesystems, and why
// some cannot be opened.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/inspect/layout.hpp"
#include "guestkit/generated/inspection.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// What an array's member records about the array.
struct md_superblock {
  std::string name;
  std::string level;  ///< "raid1", …
  std::size_t devices = 0;
};

/// The start of a version 1 superblock; nothing if it is not one.
std::optional<md_superblock> md_superblock_in(std::string_view bytes);

/// Reports partitions, layers and filesystems: everything that can be found out without mounting.
void describe_layout(guest_actions& g, layout& layout, Inspection& found);

/// Reports how full the filesystems are, and which cannot be mounted.
void measure_filesystems(guest_actions& g, layout& layout, Inspection& found);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/layout_description.ipp"
#endif
