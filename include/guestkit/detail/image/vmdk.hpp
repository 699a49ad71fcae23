// VMDK: sparse files, which may contain their descriptor, and descriptors, which name other files.
//
// Whatever QEMU would treat as a reference must count as one here, so the descriptor is read as loosely as
// QEMU reads it.
#pragma once

#include <cstdint>
#include <string>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/image/file.hpp"
#include "guestkit/generated/image_info.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// @param start  the file's first 8 KiB
bool is_vmdk(const image_block& start);

void read_vmdk(const image_file& file, const image_block& start, ImageInfo& info);

namespace vmdk {

inline constexpr std::uint64_t sector = 512;

/// The lines of a descriptor by which QEMU recognizes that a parent has changed.
std::string identity(const image_file& file);

/// Whether QEMU reads the extent, rather than skipping it.
bool is_read(const ImageExtent& extent) noexcept;

/// Unless it is flat, an extent's file is opened as VMDK again.
ImageReference reference_to(const ImageExtent& extent);

}  // namespace vmdk

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/image/vmdk.ipp"
#endif
