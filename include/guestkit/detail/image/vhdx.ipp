#pragma once

#include <array>
#include <climits>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "guestkit/detail/base/utf16.hpp"
#include "guestkit/detail/image/vhdx.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

namespace vhdx {

inline constexpr auto format = "vhdx";
inline constexpr std::uint64_t kib = 1024, mib = 1024 * kib;
inline constexpr std::size_t max_parent_entries = 16;  // [MS-VHDX] knows five keys

GUESTKIT_INLINE std::uint32_t checksum(const image_block& block) {
  constexpr auto table = [] {
    std::array<std::uint32_t, 256> values{};
    for (std::uint32_t i = 0; i < values.size(); ++i) {
      std::uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = value >> 1U ^ ((value & 1U) != 0 ? 0x82F63B78U : 0U);
      values.at(i) = value;
    }
    return values;
  }();
  std::uint32_t crc = ~0U;
  for (std::size_t i = 0; i < block.size(); ++i) {
    const std::uint8_t byte = i >= 4 && i < 8 ? 0 : block.u8(i);
    crc = crc >> 8U ^ table.at((crc ^ byte) & 255U);
  }
  return ~crc;
}

/// The newer one of the two headers.
inline image_block current_header(const image_file& file) {
  std::optional<image_block> best;
  for (const std::uint64_t at : {64 * kib, 128 * kib}) {
    auto h = file.read(at, 4 * kib, format, "a header");
    if (!h.begins_with("head") || checksum(h) != h.le32(4)) continue;
    if (!best || h.le64(8) > best->le64(8)) best = std::move(h);
  }
  if (!best) file.invalid(format, "neither header has its signature and its checksum", 64 * kib);
  return *std::move(best);
}

struct region {
  std::uint64_t offset;
  std::uint32_t size;
};

inline std::map<std::string, region, std::less<>> read_regions(const image_file& file) {
  for (const std::uint64_t at : {192 * kib, 256 * kib}) {
    const auto table = file.read(at, 64 * kib, format, "a region table");
    if (!table.begins_with("regi") || checksum(table) != table.le32(4)) continue;
    const auto entries = table.le32(8);
    require(entries <= 2047, file, format, must_be("the number of regions", entries, "at most 2047"), at + 8);
    std::map<std::string, region, std::less<>> regions;
    for (std::size_t i = 0; i < entries; ++i) {
      const std::size_t entry = 16 + 32 * i;
      const std::string guid(table.bytes(entry, 16));
      const region found{table.le64(entry + 16), table.le32(entry + 24)};
      require(guid == metadata_region || guid == table_region || (table.le32(entry + 28) & 1U) == 0, file,
              format, "a region that must be understood is unknown", at + entry);
      require(found.offset <= INT64_MAX && found.offset >= mib, file, format,
              must_be("a region's offset", found.offset, "1 MiB or more"), at + entry + 16);
      require(regions.emplace(guid, found).second, file, format, "a region is there twice", at + entry);
    }
    return regions;
  }
  file.invalid(format, "neither region table has its signature and its checksum", 192 * kib);
}

/// The items by GUID, with bounds checked.
inline std::map<std::string, image_block, std::less<>> read_items(const image_file& file,
                                                                  const region& where) {
  const auto table = file.read(where.offset, 64 * kib, format, "the metadata table");
  require(table.begins_with("metadata"), file, format, "there is no metadata table", where.offset);
  const auto entries = table.le16(10);
  require(entries <= 2047, file, format, must_be("the number of metadata items", entries, "at most 2047"),
          where.offset + 10);
  std::map<std::string, image_block, std::less<>> items;
  for (std::size_t i = 0; i < entries; ++i) {
    const std::size_t entry = 32 + 32 * i;
    const std::string guid(table.bytes(entry, 16));
    const auto offset = table.le32(entry + 16), size = table.le32(entry + 20);
    const auto at = where.offset + entry;
    bool known = false;
    for (const auto id : {parameters_item, size_item, sector_item, parent_item}) known = known || guid == id;
    if (!known) continue;
    require(offset >= 64 * kib && size <= mib, file, format,
            "a metadata item lies in the table or is longer than 1 MiB", at + 16);
    require(offset <= where.size && size <= where.size - offset, file, format,
            "a metadata item reaches behind its region", at + 16);
    require(items.emplace(guid, file.read(where.offset + offset, size, format, "a metadata item")).second,
            file, format, "a metadata item is there twice", at);
  }
  return items;
}

inline const image_block& item(const image_file& file,
                               const std::map<std::string, image_block, std::less<>>& items,
                               std::string_view guid, std::size_t size, const char* what, std::uint64_t at) {
  const auto found = items.find(guid);
  require(found != items.end() && found->second.size() >= size, file, format,
          std::string("the metadata lack ") + what, at);
  return found->second;
}

/// The names in a differencing disk's parent locator; all of them if they contradict each other.
inline void read_parent(const image_file& file, const image_block& locator, ImageInfo& info) {
  const std::size_t entries = locator.le16(18);
  require(entries <= max_parent_entries, file, format,
          must_be("the number of entries in the parent locator", entries, "at most 16"),
          locator.offset() + 18);
  std::set<std::string> keys;
  for (std::size_t i = 0; i < entries; ++i) {
    const std::size_t entry = 20 + 12 * i;
    require(entry + 12 <= locator.size(), file, format, "the parent locator is cut off",
            locator.offset() + 18);
    const auto key_at = locator.le32(entry), value_at = locator.le32(entry + 4);
    const auto key_size = locator.le16(entry + 8), value_size = locator.le16(entry + 10);
    require(std::uint64_t{key_at} + key_size <= locator.size() &&
                std::uint64_t{value_at} + value_size <= locator.size(),
            file, format, "the parent locator reaches behind its end", locator.offset() + entry);
    const auto text = [&](std::size_t from, std::size_t size) {
      return utf8_of_utf16(utf16_before_nul(locator.bytes(from, size)));
    };
    const auto key = text(key_at, key_size).value_or("");
    require(keys.insert(key).second || key.empty(), file, format,
            "a key of the parent locator is there twice", locator.offset() + entry);
    if (key != "relative_path" && key != "volume_path" && key != "absolute_win32_path") continue;
    const auto text_of_name = text(value_at, value_size);
    require(text_of_name.has_value(), file, format, "the parent's name is no UTF-16",
            locator.offset() + value_at);
    const auto& name = *text_of_name;
    require(name.size() < PATH_MAX, file, format, "the parent's name is longer than 4095 bytes",
            locator.offset() + entry + 4);
    if (!info.backing_file || key == "relative_path") info.backing_file = name;
    info.references.push_back({"parent", name, format});
  }
  if (info.references.empty()) info.references.push_back({"parent", "", format});
}

}  // namespace vhdx

GUESTKIT_INLINE void read_vhdx(const image_file& file, ImageInfo& info) {
  using namespace vhdx;
  const auto header = current_header(file);
  const header_check check(file, format);
  check(header.le16(66) == 1, must_be("version", header.le16(66), "1"), header.offset() + 66);
  const auto regions = read_regions(file);
  const auto metadata = regions.find(metadata_region);
  check(metadata != regions.end(), "there is no metadata region", 192 * kib);
  const auto table = regions.find(table_region);
  check(table != regions.end(), "there is no block allocation table", 192 * kib);
  const auto at = metadata->second.offset;
  const auto items = read_items(file, metadata->second);
  const auto& parameters = item(file, items, parameters_item, 8, "the file parameters", at);
  const auto& size = item(file, items, size_item, 8, "the disk's size", at);
  const auto& sector = item(file, items, sector_item, 4, "the logical sector size", at);
  const auto block = parameters.le32(0);
  check(is_power_of_two(block) && block >= mib && block <= 256 * mib,
        must_be("block size", block, "a power of two from 1 to 256 MiB"), parameters.offset());
  check(sector.le32(0) == 512 || sector.le32(0) == 4096,
        must_be("logical sector size", sector.le32(0), "512 or 4096"), sector.offset());
  check(size.le64(0) <= 64 * mib * mib, must_be("size", size.le64(0), "at most 64 TiB"), size.offset());
  info.version = 1;
  info.virtual_size = size.le64(0);
  info.cluster_size = block;
  info.blocksize = static_cast<int>(sector.le32(0));
  info.dirty =
      header.bytes(48, 16).find_first_not_of('\0') != std::string_view::npos;  // the log is to be replayed
  info.truncated =
      table->second.offset > file.size() || table->second.size > file.size() - table->second.offset;
  const bool has_parent = (parameters.le32(4) & 2U) != 0;
  info.subformat = has_parent ? "differencing" : (parameters.le32(4) & 1U) != 0 ? "fixed" : "dynamic";
  if (has_parent) read_parent(file, item(file, items, parent_item, 20, "the parent locator", at), info);
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
