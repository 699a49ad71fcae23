// Signatures that identify a disk: partition tables, file systems, volumes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/image/file.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

namespace marks {

struct mark {
  std::string_view content;
  std::size_t offset;
  std::string_view magic;
};

using std::string_view_literals::operator""sv;

/// Signatures of file systems and volumes that fill a disk or a partition. Boot sectors, GPT and ext are not
/// among them: their signatures are too short on their own, or may be in several places.
inline constexpr std::array of_disks{
    mark{"luks", 0, "LUKS\xba\xbe"sv},
    mark{"xfs", 0, "XFSB"sv},
    mark{"squashfs", 0, "hsqs"sv},
    mark{"lvm", 512, "LABELONE"sv},
    mark{"f2fs", 1024, "\x10\x20\xf5\xf2"sv},
    mark{"erofs", 1024, "\xe2\xe1\xf5\xe0"sv},
    mark{"md", 4096, "\xfc\x4e\x2b\xa9"sv},
    mark{"swap", 4086, "SWAPSPACE2"sv},
    mark{"bsd", 512, "\x57\x45\x56\x82"sv},
    mark{"apfs", 32, "NXSB"sv},
    mark{"jfs", 32768, "JFS1"sv},
    mark{"iso9660", 32769, "CD001"sv},
    mark{"reiserfs", 65588, "ReIsEr"sv},
    mark{"btrfs", 65600, "_BHRfS_M"sv},
    mark{"ufs", 66908, "\x19\x54\x01\x19"sv},
};

/// Whether a GPT for sectors of that size begins after the first sector.
bool has_gpt(const image_block& start, std::size_t sector);

bool has_boot_signature(const image_block& start);

/// A partition of an MBR, in sectors.
struct mbr_entry {
  std::uint8_t status = 0, type = 0;
  std::uint32_t first = 0, count = 0;
};

std::array<mbr_entry, 4> mbr_entries(const image_block& start);

/// The type of the first partition in an MBR; 0: there is none.
unsigned mbr_type(const image_block& start);

/// Whether it begins as ext2, ext3 and ext4 do. Their magic number alone is so short that it occurs by
/// chance.
bool is_ext(const image_block& start);

}  // namespace marks

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/image/marks.ipp"
#endif
