// The one function that mounts at a path that a guest chose.
//
// libguestfs' mount does not chroot: it hands mount(8) the mountpoint behind /sysroot, so that `..` and a
// guest's symlinks lead to the appliance's own files.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/inspect/guest_actions.hpp"
#include "guestkit/detail/inspect/layout.hpp"
#include "guestkit/detail/inspect/mount_plan.hpp"
#include "guestkit/detail/inspect/tree.hpp"
#include "guestkit/generated/inspection.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Every filesystem that may be looked into, btrfs' subvolumes beside the default one too.
string_list mountable_filesystems(guest_actions& g, layout& layout);

/// Why nothing may be mounted at a path of the guest's, where libguestfs follows symlinks out of the guest;
/// nothing if there is no reason.
std::optional<path_fault> fault_of_mountpoint(guest_actions& g, const std::string& mountpoint);

/// Mounts a filesystem whose name a guest may have chosen; nothing else in guestkit does. The name of a
/// subvolume becomes an option of mount(8).
/// @param path  / or one for which fault_of_mountpoint() has nothing to say
void mount_at(guest_actions& g, const std::string& device, const std::string& path, bool readonly);

/// Mounts at the guest's mountpoints, behind the root, which is mounted; nothing else in guestkit mounts at a
/// path that a guest chose. Returns what is mounted now, without the root. What is not is
/// among the failures.
/// @param mountpoints  in mount order; those at which nobody may mount are taken out, the others made plain
mountpoint_list mount_behind_root(guest_actions& g, mountpoint_list& mountpoints, bool readonly,
                                  std::vector<InspectFailure>& failures);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/mounts.ipp"
#endif
