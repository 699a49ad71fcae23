#pragma once

#include <cstdint>
#include <string>

#include "guestkit/detail/base/text.hpp"
#include "guestkit/detail/image/vdi.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE bool is_vdi(const image_block& start) {
  return start.size() >= 68 && start.le32(64) == 0xbeda107f;
}

GUESTKIT_INLINE void read_vdi(const image_file& file, ImageInfo& info) {
  constexpr auto format = "vdi";
  const auto h = file.read(0, 512, format, "the header");
  const header_check check(file, format);
  const auto type = h.le32(76), map = h.le32(340), data = h.le32(344), sector = h.le32(360);
  const auto size = h.le64(368);
  const auto block = h.le32(376), blocks = h.le32(384), allocated = h.le32(388);
  check(h.le32(68) == 0x10001, must_be("version", h.le32(68), "65537 (1.1)"), 68);
  check(type == 1 || type == 2 || type == 4,
        must_be("image type", type, "1 (dynamic), 2 (static) or 4 (differencing)"), 76);
  check(map % 512 == 0 && map >= 512, must_be("the block map's offset", map, "a multiple of 512"), 340);
  check(data % 512 == 0 && data >= map,
        must_be("the data's offset", data, "a multiple of 512 behind the map"), 344);
  check(sector == 512, must_be("sector size", sector, "512"), 360);
  check(is_power_of_two(block) && block >= 512, must_be("block size", block, "a power of two from 512"), 376);
  check(size <= INT64_MAX, must_be("size", size, "below 2^63"), 368);
  check(size <= std::uint64_t{blocks} * block,
        must_be("blocks in image", blocks, std::to_string(size / block) + " or more for a disk of this size"),
        384);
  check(allocated <= blocks, must_be("blocks allocated", allocated, "at most " + std::to_string(blocks)),
        388);
  info.version = 1;
  info.subformat = type == 1 ? "dynamic" : type == 2 ? "static" : "differencing";
  info.virtual_size = (size + 511) / 512 * 512;
  info.cluster_size = block;
  info.truncated = file.size() < data || file.size() - data < std::uint64_t{allocated} * block;
  // A parent image is named by its UUID: VirtualBox looks it up, QEMU refuses such a disk.
  constexpr std::size_t link = 424, uuid_size = 16;
  for (const std::size_t at : {link, link + uuid_size}) {
    const auto uuid = h.bytes(at, uuid_size);
    if (uuid.find_first_not_of('\0') == std::string_view::npos) continue;
    std::string name = "uuid:";
    for (std::size_t i = 0; i < uuid_size; ++i) append_hex(name, h.u8(at + i));
    info.references.push_back({"parent", name, format});
  }
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
