// The only functions that mount what a guest has named, or at a path that it has chosen.
//
// libguestfs' mount does not chroot: it passes mount(8) the mountpoint with /sysroot in front, so `..` and a
// guest's symlinks can lead to the appliance's own files.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/files/guest_actions.hpp"
#include "guestkit/detail/files/tree.hpp"
#include "guestkit/detail/inspect/layout.hpp"
#include "guestkit/detail/inspect/mount_plan.hpp"
#include "guestkit/generated/inspection.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Every filesystem that may be examined, including btrfs subvolumes other than the default one.
/// @param left_out  gets how many subvolumes are not among them
string_list mountable_filesystems(layout& layout, std::vector<InspectFailure>& left_out);

/// Why nothing may be mounted at this path of the guest, where libguestfs would follow symlinks out of the
/// guest; nothing if it is safe.
std::optional<path_fault> fault_of_mountpoint(guest_actions& g, const std::string& mountpoint);

/// Mounts a filesystem whose name a guest may have chosen, as it does for volumes and subvolumes. A
/// subvolume's name becomes an option of mount(8), so one with a comma is refused.
/// @param path  / or a path for which fault_of_mountpoint() finds no fault
void mount_at(guest_actions& g, const std::string& device, const std::string& path, bool readonly);

/// The error for a filesystem that was mounted there to be written, but is read-only (EROFS) or does not tell
/// whether it is; nothing if it can be written. Some drivers, such as ntfs-3g, mount one read-only without an
/// error.
std::optional<Error> read_only_fault(guest_actions& g, const std::string& device, const std::string& path);

/// Mounts the top level of a btrfs filesystem read-only at /, with every subvolume in its place.
void mount_top(guest_actions& g, const std::string& device);

/// Mounts at the guest's mountpoints, below the root, which must be mounted. Returns what is mounted now,
/// without the root. The rest is listed in the failures, and so is what is read-only against the wish.
/// @param mountpoints  in mount order; unsafe ones are removed, the others become plain paths
mountpoint_list mount_behind_root(guest_actions& g, mountpoint_list& mountpoints, bool readonly,
                                  std::vector<InspectFailure>& failures);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/mounts.ipp"
#endif
