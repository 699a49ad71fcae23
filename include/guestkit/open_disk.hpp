// Guestfs::open_disk(): for disks that somebody else has written.
#pragma once

#include <filesystem>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/launch/open_disk.hpp"
#include "guestkit/generated/image_info.hpp"
#include "guestkit/guestfs.hpp"
#include "guestkit/open_disk_options.hpp"

namespace guestkit::inline GUESTKIT_FORM {

template <class Core>
ImageInfo basic_guestfs<Core>::open_disk(const std::filesystem::path& path, const OpenDiskOptions& options) {
  return detail::open_disk(this->state(), path.native(), options);
}

}  // namespace guestkit::inline GUESTKIT_FORM
