// mount_guest(): access to a guest's files without inspecting and mounting by hand.
//
// File names and contents come from the guest: treat them as hostile. Calling it requires libguestfs 1.44.
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
  /// The filesystem to mount at /: a device of the appliance, or a name for one, such as UUID=…. None: that
  /// of the only operating system, otherwise the only filesystem.
  std::optional<std::string> root = {};
  bool readonly = true;
  std::vector<InspectKey> keys = {};  ///< for encrypted disks
  /// Called on the calling thread with the current step; it must not throw.
  std::function<void(const char* step)> step = {};
};

/// Mounts a guest's filesystems as its operating system would. The handle must be launched; whatever is
/// mounted on it is unmounted first.
///
///     guestkit::Guestfs g;
///     g.open_disk("web.qcow2");  // declared in <guestkit/open_disk.hpp>
///     g.launch();
///     guestkit::mount_guest(g);
///     std::cout << guestkit::printable(guestkit::read_small(g, "/etc/hostname"));  // of files.hpp
///
/// If a root is given, only that filesystem and those named in its fstab are examined; if it holds no
/// operating system, it is mounted alone. Filesystems besides / that cannot be mounted are listed in the
/// result's failures. No mountpoint can lead out of the guest: one that contains `..`, or a symlink along its
/// path, is not mounted.
///
/// Counts as one call: Limits::call bounds all of it. If it cannot choose a root, throws an Error
/// that names the candidates.
MountedGuest mount_guest(Guestfs& g, const MountOptions& options = {});

}  // namespace guestkit::inline GUESTKIT_FORM

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/guest.ipp"
#endif
