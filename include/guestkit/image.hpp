// Disk images, known before anybody opens them: guestkit reads the header itself, since QEMU would guess the
// format and follow whatever other files the image names. Needs no libguestfs.
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
/// Reads the header and, of a qcow2, at most some 100 MB of tables; opens no other file and starts nothing.
/// Regular files and block devices only: a FIFO cannot make it hang. Throws Error that says what is wrong
/// with the image, and at which offset. Threads: any.
/// @param format  QEMU's name; none: by what the file begins with. A guest can make its raw disk look like
///                any other format: state "raw" where you know it.
ImageInfo probe(const std::filesystem::path& path, std::optional<std::string_view> format = {});

}  // namespace guestkit::inline GUESTKIT_FORM

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/image/image.ipp"
#endif
