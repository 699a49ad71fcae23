// The size of a disk's sectors, which no image but a VHDX states: its partition table shows it.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/image/raw.hpp"
#include "guestkit/generated/image_info.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Reads what the guest sees: that many bytes, zeros behind the end; nothing where they cannot be told.
using guest_reader = std::function<std::optional<std::string>(std::uint64_t offset, std::size_t size)>;

namespace sectors {

/// The part of a disk or a partition that its marks are in.
inline constexpr std::size_t with_marks = 66'912;

/// Whether a GPT for sectors of that size begins behind the first one.
inline bool has_gpt(const image_block& start, std::uint64_t sector, std::uint64_t disk) {
  const auto at = static_cast<std::size_t>(sector);
  return raw::has_gpt(start, at) && start.le64(at + 24) == 1 && start.le64(at + 32) < disk / sector;
}

/// Whether a filesystem, a volume or a boot sector begins there.
inline bool has_content(const image_block& start) {
  const auto first = start.u8(0);
  return raw::is_ext(start) || (raw::has_boot_signature(start) && (first == 0xeb || first == 0xe9)) ||
         std::any_of(raw::disk_marks.begin(), raw::disk_marks.end(), [&](const raw::mark& each) {
           return start.bytes(each.offset, each.magic.size()) == each.magic;
         });
}

/// An MBR counts in sectors of an unknown size: larger ones only if the partitions then lie on the disk, and
/// hold something there while they hold nothing where smaller ones would have them.
inline std::optional<int> by_mbr(const image_block& start, std::uint64_t disk, const guest_reader& read) {
  bool found = false;
  for (const auto& entry : raw::mbr_entries(start)) {
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

/// 4096 where the partition table is one for such sectors, else 512; nothing if the disk cannot be read.
inline std::optional<int> sector_size(std::uint64_t disk, const guest_reader& read) {
  const auto begin = read(0, 8192);
  if (!begin) return std::nullopt;
  const image_block start(*begin, 0);
  const bool small = sectors::has_gpt(start, 512, disk), large = sectors::has_gpt(start, 4096, disk);
  if (small &&
      large) {  // one of them is left over from earlier: the MBR before them says how long the disk is
    for (const auto& entry : raw::mbr_entries(start))
      if (entry.type == 0xee && entry.count == disk / 4096 - 1) return 4096;
    return 512;
  }
  if (small || large) return small ? 512 : 4096;
  return raw::mbr_type(start) == 0 ? 512 : sectors::by_mbr(start, disk, read);
}

inline void read_raw(const image_file& file, const image_block& start, ImageInfo& info) {
  info.virtual_size = file.size();
  info.content = raw_content(file, start);
  if (info.content == "luks") info.encryption = "luks";
  info.blocksize = sector_size(file.size(), [&](std::uint64_t offset, std::size_t size) {
    std::string bytes(file.read_some(offset, size).bytes());
    bytes.resize(size);
    return std::optional(std::move(bytes));
  });
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
