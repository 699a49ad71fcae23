// Which of a guest's filesystems its fstab has mounted where.
#pragma once

#include <cstddef>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/inspect/layout.hpp"
#include "guestkit/generated/inspection.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Filesystems by their mountpoints.
using mountpoint_list = std::vector<std::pair<std::string, std::string>>;

/// Shorter mountpoints first, so that each can be mounted in turn.
mountpoint_list in_mount_order(mountpoint_list mountpoints);

/// A subvolume of btrfs under the name that the report has for its device. libguestfs leaves such a name as
/// the appliance's kernel has it, which may call the first disk sdb, and with the slashes that fstab has.
std::string known_volume(layout& layout, std::string volume);

/// What is mounted where.
struct mount_plan {
  mountpoint_list mountpoints = {};  ///< in mount order: the root at / first
  /// What fstab names, swap too; in libguestfs' order: last first.
  std::vector<std::string> filesystems = {};
  std::vector<InspectFailure> failures = {};

  /// Every mountpoint in fstab, as a plain path, also where nothing is mounted on it: what fstab says of
  /// these counts, whatever libguestfs says.
  std::set<std::string> named = {};
  std::vector<std::string> corrections = {};  ///< where libguestfs may read fstab otherwise, and errs
};

/// A regular file's first bytes, links followed in the guest; nothing if there is none. Throws Error for what
/// is no regular file.
std::optional<std::string> beginning_of(guest_actions& g, const std::string& path, std::size_t limit);

/// Decides what is mounted where: the root that was found at /, whatever fstab says; the rest as fstab says.
/// The root is mounted at / when this is called, and nothing else is.
mount_plan plan_mounts(guest_actions& g, layout& layout, const std::string& root);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/mount_plan.ipp"
#endif
