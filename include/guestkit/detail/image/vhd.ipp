#pragma once

#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "guestkit/detail/base/utf16.hpp"
#include "guestkit/detail/image/vhd.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

namespace vhd {

inline constexpr auto format = "vpc";
inline constexpr std::string_view cookie = "conectix";
enum type : std::uint32_t { fixed = 2, dynamic = 3, differencing = 4 };

GUESTKIT_INLINE std::uint32_t checksum(const image_block& block, std::size_t at) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < block.size(); ++i)
    if (i < at || i >= at + 4) sum += block.u8(i);
  return ~sum;
}

inline bool is_footer(const image_block& block) {
  return block.size() == footer_size && block.begins_with(cookie) && checksum(block, 64) == block.be32(64);
}

/// In bytes. As in QEMU, the program that made the disk decides whether the geometry determines the size.
inline std::uint64_t disk_size(const image_block& footer) {
  constexpr std::uint64_t largest_geometry = 65535ULL * 16 * 255;
  const std::uint64_t sectors = std::uint64_t{footer.be16(56)} * footer.u8(58) * footer.u8(59);
  bool exact = sectors == largest_geometry;
  for (const std::string_view creator : {"win ", "qem2", "d2v ", "CTXS"})
    exact = exact || footer.bytes(28, 4) == creator;
  exact = exact || footer.bytes(28, 4) == std::string_view("tap\0", 4) ||
          footer.bytes(28, 4) == std::string_view("wa\0\0", 4);
  return exact ? footer.be64(48) / 512 * 512 : sectors * 512;
}

inline void read_dynamic(const image_file& file, const image_block& footer, ImageInfo& info) {
  const auto offset = footer.be64(16);
  require(offset >= footer_size && offset <= INT64_MAX, file, format,
          must_be("data offset", offset, "behind the footer's copy"), 16);
  const auto h = file.read(offset, 1024, format, "the dynamic disk header");
  const auto table = h.be64(16);
  const auto entries = h.be32(28), block = h.be32(32);
  require(h.begins_with("cxsparse"), file, format, "there is no dynamic disk header", offset);
  require(checksum(h, 36) == h.be32(36), file, format, "the dynamic disk header's checksum is wrong",
          offset + 36);
  require(is_power_of_two(block) && block >= 512, file, format,
          must_be("block size", block, "a power of two from 512"), offset + 32);
  require(std::uint64_t{entries} * block >= info.virtual_size, file, format,
          must_be("max table entries", entries, std::to_string(info.virtual_size / block) + " or more"),
          offset + 28);
  require(table <= INT64_MAX, file, format, must_be("table offset", table, "below 2^63"), offset + 16);
  info.cluster_size = block;
  info.truncated = table > file.size() || 4ULL * entries > file.size() - table;
  if (footer.be32(60) != differencing) return;
  const auto name = utf8_of_utf16(utf16_before_nul(h.bytes(64, 512)), byte_order::big);
  require(name.has_value(), file, format, "the parent's name is no UTF-16", offset + 64);
  info.backing_file = *name;
  info.references.push_back({"parent", *name, format});
}

}  // namespace vhd

GUESTKIT_INLINE image_block vhd_footer(const image_file& file, const image_block& start) {
  if (start.begins_with(vhd::cookie)) return file.read(0, vhd::footer_size, vhd::format, "the footer's copy");
  if (file.size() < vhd::footer_size || file.is_device()) return {"", 0};
  auto last = file.read_some(file.size() - vhd::footer_size, vhd::footer_size);
  return vhd::is_footer(last) && last.be32(60) == vhd::fixed ? std::move(last) : image_block("", 0);
}

GUESTKIT_INLINE void read_vhd(const image_file& file, const image_block& footer, ImageInfo& info) {
  const auto type = footer.be32(60);
  const header_check check(file, vhd::format, footer.offset());
  check(vhd::is_footer(footer), "the footer's checksum is wrong", 64);
  check(type >= vhd::fixed && type <= vhd::differencing,
        must_be("disk type", type, "2 (fixed), 3 (dynamic) or 4 (differencing)"), 60);
  const bool at_end = footer.offset() != 0;
  check(at_end || type != vhd::fixed, "a fixed disk has its footer at the end only", 60);
  constexpr std::array names{"fixed", "dynamic", "differencing"};
  info.version = static_cast<int>(footer.be32(12) >> 16U);
  info.subformat = names.at(type - vhd::fixed);
  info.virtual_size = vhd::disk_size(footer);
  check(info.virtual_size <= INT64_MAX, must_be("size", info.virtual_size, "below 2^63"), 48);
  if (type == vhd::fixed)
    info.truncated = info.virtual_size > footer.offset();
  else
    vhd::read_dynamic(file, footer, info);
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
