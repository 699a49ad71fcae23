// Disks from strangers: what QEMU may open is decided before QEMU sees any of the disk.
//
// A read-only disk is added as an overlay of our own, which refers to the checked files by descriptor, so
// nobody can replace them. In two cases QEMU has to find a file by name: a disk that is written to, and
// backends other than direct. It then gets the kernel's name for the file that was checked.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/base/private_file.hpp"
#include "guestkit/detail/base/scratch.hpp"
#include "guestkit/detail/base/unique_fd.hpp"
#include "guestkit/detail/image/file.hpp"
#include "guestkit/generated/image_info.hpp"
#include "guestkit/generated/options.hpp"
#include "guestkit/open_disk_options.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Files that QEMU opens when it starts and that nobody needs afterwards.
struct opened_disk {
  std::vector<unique_fd> files;
  std::shared_ptr<private_file> overlay;
  std::optional<file_identity> written;  ///< the disk's own file, if the disk is written to
};

/// A checked disk: the arguments for add_drive, and the files to keep until the launch.
struct checked_disk {
  ImageInfo info;
  std::string filename;
  AddDriveOptions options;
  std::string in_use;  // for the log
  opened_disk kept;
};

/// Checks the disk and prepares what QEMU will open. Throws Error, or std::system_error if a private file
/// cannot be made.
/// @param op      the call that opens the disk
/// @param path    a file's name, or the URI of an NBD server
/// @param direct  whether libguestfs itself starts QEMU, as this user
/// @param directory  for private files
/// @param cage    as described_image's. If there is one, QEMU will be shut in, and has to inherit the files
checked_disk check_disk(const char* op, const std::string& path, const OpenDiskOptions& options, bool direct,
                        const std::shared_ptr<scratch>& directory,
                        const std::optional<std::string>& cage = {});

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/image/checked_disk.ipp"
#endif
