// VHD, called vpc in QEMU: a footer at the end of the file and, unless the disk is fixed, a copy at the
// beginning.
#pragma once

#include <cstddef>
#include <cstdint>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/image/file.hpp"
#include "guestkit/generated/image_info.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// The footer; a fixed disk has it only at its end. Empty if this is no VHD.
image_block vhd_footer(const image_file& file, const image_block& start);

void read_vhd(const image_file& file, const image_block& footer, ImageInfo& info);

namespace vhd {

inline constexpr std::size_t footer_size = 512;

/// The checksum of a footer or header.
/// @param at  the checksum's offset in the block; the checksum does not cover itself
std::uint32_t checksum(const image_block& block, std::size_t at);

}  // namespace vhd

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/image/vhd.ipp"
#endif
