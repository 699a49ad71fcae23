// A guest's files without inspecting and mounting by hand: mount_guest().
//
// Names of files and their content are the guest's: hostile. Needs libguestfs 1.44 where it is used.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/generated/inspection.hpp"
#include "guestkit/guestfs.hpp"
#include "guestkit/inspect_options.hpp"

namespace guestkit::inline GUESTKIT_FORM {

struct MountOptions {
  /// The filesystem that becomes /: a device of the appliance, or a name such as UUID=… that stands for one.
  /// None: that of the only operating system, else the only filesystem.
  std::optional<std::string> root = {};
  bool readonly = true;
  std::vector<InspectKey> keys = {};  ///< for encrypted disks
  /// Called with what is being done now, on the calling thread; it must not throw.
  std::function<void(const char* step)> step = {};
};

/// Mount a guest's filesystems as its operating system would, on a handle that was launched; whatever is
/// mounted is unmounted before.
///
///     guestkit::Guestfs g;
///     g.open_disk("web.qcow2");
///     g.launch();
///     guestkit::mount_guest(g);
///     std::cout << g.read_file("/etc/fstab").view();
///
/// With a root only that filesystem is looked at, and what its own fstab names; where it holds no operating
/// system it is mounted alone. What cannot be mounted beside / is in the result's failures. No guest's
/// mountpoint leads out of the guest: one with `..` or with a symlink on its way is not mounted.
///
/// One call for the limits: Limits::call is the time for all of it. Throws Error that names what there is to
/// choose from.
MountedGuest mount_guest(Guestfs& g, const MountOptions& options = {});

}  // namespace guestkit::inline GUESTKIT_FORM

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/guest.ipp"
#endif
