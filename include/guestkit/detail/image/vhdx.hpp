// VHDX: two headers, two region tables, metadata by GUID. Microsoft's [MS-VHDX].
#pragma once

#include <cstdint>
#include <string_view>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/image/file.hpp"
#include "guestkit/generated/image_info.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

void read_vhdx(const image_file& file, ImageInfo& info);

namespace vhdx {

/// The first bytes of the file.
inline constexpr std::string_view signature = "vhdxfile";

// GUIDs in the file's byte order.
using std::string_view_literals::operator""sv;
inline constexpr auto metadata_region = "\x06\xa2\x7c\x8b\x90\x47\x9a\x4b\xb8\xfe\x57\x5f\x05\x0f\x88\x6e"sv;
inline constexpr auto table_region = "\x66\x77\xc2\x2d\x23\xf6\x00\x42\x9d\x64\x11\x5e\x9b\xfd\x4a\x08"sv;
inline constexpr auto parameters_item = "\x37\x67\xa1\xca\x36\xfa\x43\x4d\xb3\xb6\x33\xf0\xaa\x44\xe7\x6b"sv;
inline constexpr auto size_item = "\x24\x42\xa5\x2f\x1b\xcd\x76\x48\xb2\x11\x5d\xbe\xd8\x3b\xf4\xb8"sv;
inline constexpr auto sector_item = "\x1d\xbf\x41\x81\x6f\xa9\x09\x47\xba\x47\xf2\x33\xa8\xfa\xab\x5f"sv;
inline constexpr auto parent_item = "\x2d\x5f\xd3\xa8\x0b\xb3\x4d\x45\xab\xf7\xd3\xd8\x48\x34\xab\x0c"sv;

/// CRC-32C of the block, with the four bytes of the checksum itself, at offset 4, taken as zeros.
std::uint32_t checksum(const image_block& block);

}  // namespace vhdx

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/image/vhdx.ipp"
#endif
