#pragma once

#include "guestkit/detail/image/marks.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

namespace marks {

GUESTKIT_INLINE bool has_gpt(const image_block& start, std::size_t sector) {
  return start.bytes(sector, 8) == "EFI PART";
}

GUESTKIT_INLINE bool has_boot_signature(const image_block& start) {
  return start.bytes(510, 2) == "\x55\xaa";
}

GUESTKIT_INLINE std::array<mbr_entry, 4> mbr_entries(const image_block& start) {
  std::array<mbr_entry, 4> entries;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const std::size_t at = 446 + 16 * i;
    entries.at(i) = {start.u8(at), start.u8(at + 4), start.le32(at + 8), start.le32(at + 12)};
  }
  return entries;
}

GUESTKIT_INLINE unsigned mbr_type(const image_block& start) {
  if (!has_boot_signature(start)) return 0;
  for (const auto& entry : mbr_entries(start))
    if (entry.type != 0 && (entry.status == 0 || entry.status == 0x80)) return entry.type;
  return 0;
}

GUESTKIT_INLINE bool is_ext(const image_block& start) {
  return start.size() >= 2048 && start.le16(1080) == 0xef53 && start.le32(1024 + 24) <= 6 &&
         start.le32(1024 + 76) <= 1;
}

}  // namespace marks

}  // namespace guestkit::inline GUESTKIT_FORM::detail
