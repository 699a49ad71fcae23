// Where a guest's fstab mounts which filesystem.
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

/// A btrfs subvolume under the report's name for its device. libguestfs keeps the name from the appliance's
/// kernel, which may call the first disk sdb, and the slashes from fstab.
std::string known_volume(layout& layout, std::string volume);

/// Which filesystem is mounted where.
struct mount_plan {
  mountpoint_list mountpoints = {};  ///< in mount order: the root at / first
  /// The filesystems named in fstab, including swap, in libguestfs' order: last first.
  std::vector<std::string> filesystems = {};
  std::vector<InspectFailure> failures = {};

  /// Every mountpoint in fstab, as a plain path, even if nothing is mounted there: for these, fstab overrides
  /// libguestfs.
  std::set<std::string> named = {};
  std::vector<std::string> corrections = {};  ///< where libguestfs may read fstab otherwise, and errs
};

/// A regular file's first bytes, following links inside the guest; nothing if it does not exist. Throws Error
/// if it is not a regular file.
std::optional<std::string> beginning_of(guest_actions& g, const std::string& path, std::size_t limit);

/// Decides what is mounted where: the given root at /, whatever fstab says, and the rest according to fstab.
/// When this is called, the root must be mounted at / and nothing else may be.
mount_plan plan_mounts(guest_actions& g, layout& layout, const std::string& root);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/mount_plan.ipp"
#endif
