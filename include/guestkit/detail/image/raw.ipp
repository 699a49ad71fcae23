#pragma once

#include <optional>
#include <string>
#include <utility>

#include "guestkit/detail/image/foreign.hpp"
#include "guestkit/detail/image/marks.hpp"
#include "guestkit/detail/image/raw.hpp"
#include "guestkit/detail/image/sectors.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// What is at the beginning of a raw disk.
inline std::string raw_content(const image_file& file, const image_block& start) {
  if (start.begins_with("LUKS\xba\xbe")) return "luks";
  if (const auto foreign = foreign_content(file, start); !foreign.empty()) return std::string(foreign);
  for (const std::size_t sector : {512U, 4096U})
    if (marks::has_gpt(start, sector)) return "gpt";
  const auto type = marks::mbr_type(start);
  return type == 0 ? "" : type == 0xee ? "gpt" : "mbr";
}

GUESTKIT_INLINE void read_raw(const image_file& file, const image_block& start, ImageInfo& info) {
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
