// VDI, VirtualBox' format.
#pragma once

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/image/file.hpp"
#include "guestkit/generated/image_info.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// @param start  the file's first 8 KiB
bool is_vdi(const image_block& start);

void read_vdi(const image_file& file, ImageInfo& info);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/image/vdi.ipp"
#endif
