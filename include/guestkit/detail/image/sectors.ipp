#pragma once

#include <algorithm>

#include "guestkit/detail/image/marks.hpp"
#include "guestkit/detail/image/sectors.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

namespace sectors {

/// The part of a disk or a partition that contains its signatures.
inline constexpr std::size_t with_marks = 66'912;

/// Whether a GPT for sectors of that size begins after the first sector.
inline bool has_gpt(const image_block& start, std::uint64_t sector, std::uint64_t disk) {
  const auto at = static_cast<std::size_t>(sector);
  return marks::has_gpt(start, at) && start.le64(at + 24) == 1 && start.le64(at + 32) < disk / sector;
}

/// Whether a filesystem, a volume or a boot sector begins there.
inline bool has_content(const image_block& start) {
  const auto first = start.u8(0);
  return marks::is_ext(start) || (marks::has_boot_signature(start) && (first == 0xeb || first == 0xe9)) ||
         std::any_of(marks::of_disks.begin(), marks::of_disks.end(), [&](const marks::mark& each) {
           return start.bytes(each.offset, each.magic.size()) == each.magic;
         });
}

/// An MBR counts in sectors of unknown size. They are taken to be large only if the partitions then fit on
/// the disk and have content there, and have none where smaller sectors would put them.
inline std::optional<int> by_mbr(const image_block& start, std::uint64_t disk, const guest_reader& read) {
  bool found = false;
  for (const auto& entry : marks::mbr_entries(start)) {
    const bool extended = entry.type == 0x05 || entry.type == 0x0f || entry.type == 0x85;
    if (entry.type == 0 || entry.count == 0) continue;
    if ((std::uint64_t{entry.first} + entry.count) * 4096 > disk) return 512;
    if (extended) continue;
    for (const std::uint64_t sector : {512U, 4096U}) {
      const auto begin = read(entry.first * sector, with_marks);
      if (!begin) return std::nullopt;
      if (!has_content({*begin, 0})) continue;
      if (sector == 512) return 512;
      found = true;
    }
  }
  return found ? 4096 : 512;
}

}  // namespace sectors

GUESTKIT_INLINE std::optional<int> sector_size(std::uint64_t disk, const guest_reader& read) {
  const auto begin = read(0, 8192);
  if (!begin) return std::nullopt;
  const image_block start(*begin, 0);
  const bool small = sectors::has_gpt(start, 512, disk), large = sectors::has_gpt(start, 4096, disk);
  if (small && large) {
    // One of the two is a leftover: the MBR before them shows how long the disk is.
    for (const auto& entry : marks::mbr_entries(start))
      if (entry.type == 0xee && entry.count == disk / 4096 - 1) return 4096;
    return 512;
  }
  if (small || large) return small ? 512 : 4096;
  return marks::mbr_type(start) == 0 ? 512 : sectors::by_mbr(start, disk, read);
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
