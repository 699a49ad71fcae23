// Raw disks.
#pragma once

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/image/file.hpp"
#include "guestkit/generated/image_info.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// @param start  the file's first 8 KiB
void read_raw(const image_file& file, const image_block& start, ImageInfo& info);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/image/raw.ipp"
#endif
