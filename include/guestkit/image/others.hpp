// Raw disks, and what else a file can be: formats that guestkit does not read, and compressed files.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "../generated/image_info.hpp"
#include "file.hpp"

namespace guestkit::detail {

/// A format of QEMU's that is refused by name: taken for raw it would be read as garbage, and QEMU, where it
/// guesses the format itself, would follow the references that some of them have.
inline std::string unread_format(const image_block& start) {
  using std::string_view_literals::operator""sv;
  constexpr std::array<std::pair<std::string_view, const char*>, 5> magics{{
      {"QED\0"sv, "qed"},
      {"WithoutFreeSpace"sv, "parallels"},
      {"WithouFreSpacExt"sv, "parallels"},
      {"Bochs Virtual HD Image"sv, "bochs"},
      {"#!/bin/sh\n#V2.0 Format\nmodprobe cloop"sv, "cloop"},
  }};
  for (const auto& [magic, format] : magics)
    if (start.begins_with(magic)) return format;
  return "";
}

/// What a raw disk begins with.
inline std::string raw_content(const image_block& start) {
  using std::string_view_literals::operator""sv;
  constexpr std::array<std::pair<std::string_view, const char*>, 5> magics{{
      {"LUKS\xba\xbe"sv, "luks"},
      {"\x1f\x8b\x08"sv, "gzip"},
      {"\xfd"
       "7zXZ\0"sv,
       "xz"},
      {"\x28\xb5\x2f\xfd"sv, "zstd"},
      {"BZh"sv, "bzip2"},
  }};
  for (const auto& [magic, content] : magics)
    if (start.begins_with(magic)) return content;
  if (start.bytes(257, 5) == "ustar") return "tar";
  for (const std::size_t sector : {512U, 4096U})
    if (start.bytes(sector, 8) == "EFI PART") return "gpt";
  const bool boot_sector = start.bytes(510, 2) == "\x55\xaa";
  for (std::size_t entry = 446; boot_sector && entry < 510; entry += 16) {
    const auto status = start.u8(entry), type = start.u8(entry + 4);
    if (type != 0 && (status == 0 || status == 0x80)) return type == 0xee ? "gpt" : "mbr";
  }
  return "";
}

inline void read_raw(const image_file& file, const image_block& start, ImageInfo& info) {
  info.virtual_size = file.size();
  info.content = raw_content(start);
  if (info.content == "luks") info.encryption = "luks";
}

}  // namespace guestkit::detail
