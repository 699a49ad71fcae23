// What a disk image is, found out before anybody opens it. guestkit reads the header itself, since QEMU would
// guess the format and follow any other file that the image names. Does not require libguestfs.
#pragma once

#include <filesystem>
#include <optional>
#include <string_view>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/error.hpp"
#include "guestkit/generated/image_info.hpp"

namespace guestkit::inline GUESTKIT_FORM {

/// What the disk image is, and everything outside the file that it refers to.
///
/// Reads the header and, for a qcow2, at most 160 MiB of tables; opens no other file and starts no program.
/// Accepts only regular files and block devices, so a FIFO cannot make it hang. Throws an Error that says
/// what is wrong with the image, and at which offset. Threads: any.
/// @param format  QEMU's name; none: detected from how the file begins. A guest can make its raw disk look
///     like any other format: state "raw" if you know it is
ImageInfo probe(const std::filesystem::path& path, std::optional<std::string_view> format = {});

}  // namespace guestkit::inline GUESTKIT_FORM

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/image/image.ipp"
#endif
