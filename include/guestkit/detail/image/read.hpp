// Finds out what a disk image is from its header: this chooses the reader for its format.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/image/file.hpp"
#include "guestkit/generated/image_info.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// @param stated  the format that the user stated; none: detected from how the file begins
ImageInfo read_image(const image_file& file, std::optional<std::string_view> stated);

/// The format according to how the file begins; raw if it is none of the others.
/// @param start  the file's first 8 KiB
std::string guess_format(const image_file& file, const image_block& start);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/image/read.ipp"
#endif
