// Disks from strangers: what QEMU may open for a disk is settled before it sees any of it.
//
// A read-only disk is added as an overlay of ours, which refers to the files that were checked by descriptor,
// so that nobody can put others in their places. Where QEMU has to find a file itself, it gets the name by
// which the kernel knows what was checked: for a disk that is written to, and for other backends than direct.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/base/unique_fd.hpp"
#include "guestkit/detail/image/private_file.hpp"
#include "guestkit/detail/launch/scratch.hpp"
#include "guestkit/generated/image_info.hpp"
#include "guestkit/generated/options.hpp"
#include "guestkit/open_disk_options.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// What QEMU opens when it starts, and nobody needs afterwards.
struct opened_disk {
  std::vector<unique_fd> files;
  std::shared_ptr<private_file> overlay;
};

/// A disk, checked: what add_drive is called with, and what is to be kept until the launch.
struct checked_disk {
  ImageInfo info;
  std::string filename;
  AddDriveOptions options;
  std::string in_use;  // for the log
  opened_disk kept;
};

/// Checks the disk and prepares what QEMU is to open. Throws Error, or std::system_error where a private file
/// cannot be made.
/// @param op      the call that opens it
/// @param path    or the URI of an NBD server
/// @param direct  whether libguestfs itself starts QEMU, as this user
/// @param directory  for private files
checked_disk check_disk(const char* op, const std::string& path, const OpenDiskOptions& options, bool direct,
                        const std::shared_ptr<scratch>& directory);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/image/checked_disk.ipp"
#endif
