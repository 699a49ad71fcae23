// What the disks hold beneath the files, for the report: partitions, layers, filesystems, and what keeps them
// shut.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/inspect/layout.hpp"
#include "guestkit/generated/inspection.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// What the member of an array knows of it.
struct md_superblock {
  std::string name;
  std::string level;  ///< "raid1", …
  std::size_t devices = 0;
};

/// The beginning of a superblock of version 1; nothing if it is none.
std::optional<md_superblock> md_superblock_in(std::string_view bytes);

/// Reports partitions, layers and filesystems: what can be said without mounting anything.
void describe_layout(guest_actions& g, layout& layout, Inspection& found);

/// Reports how full the filesystems are, and which cannot be mounted.
void measure_filesystems(guest_actions& g, layout& layout, Inspection& found);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/layout_description.ipp"
#endif
