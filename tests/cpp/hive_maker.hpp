// Makes hives of Windows' registry in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace support {

inline std::string little_endian(std::uint64_t value, int count) {
  std::string bytes;
  for (int i = 0; i < count; ++i) bytes += static_cast<char>(value >> (8 * i) & 255U);
  return bytes;
}

/// ASCII as UTF-16, with a NUL at its end.
inline std::string wide(std::string_view text) {
  std::string bytes;
  for (const char c : text) bytes += std::string{c, '\0'};
  return bytes + std::string(2, '\0');
}

/// Cells are made from the leaves to the root, which comes last.
class hive_maker {
 public:
  /// Returns its place.
  std::uint32_t cell(const std::string& content) {
    const auto size = (content.size() + 4 + 7) / 8 * 8;
    if (size > end_ - pages_.size()) {
      pages_ += free_space();
      const auto page = (32 + size + 4095) / 4096 * 4096;
      pages_ += "hbin" + little_endian(end_, 4) + little_endian(page, 4) + std::string(20, '\0');
      end_ += page;
    }
    const auto place = pages_.size();
    pages_ += little_endian(0 - size, 4) + content;
    pages_.resize(place + size);
    return static_cast<std::uint32_t>(place);
  }

  std::uint32_t value(const std::string& name, std::uint32_t type, const std::string& data) {
    const bool in_place = data.size() <= 4;
    auto where = data;
    where.resize(4);
    if (!in_place) where = little_endian(cell(data), 4);
    return cell("vk" + little_endian(name.size(), 2) +
                little_endian(data.size() | (in_place ? 0x80000000U : 0U), 4) + where +
                little_endian(type, 4) + little_endian(1, 2) + little_endian(0, 2) + name);
  }

  std::uint32_t text(const std::string& name, std::string_view content) {
    return value(name, 1, wide(content));
  }

  /// @param list  of subkeys
  std::uint32_t key(const std::string& name, const std::vector<std::uint32_t>& values = {},
                    std::size_t subkeys = 0, std::uint32_t list = 0xFFFFFFFFU) {
    std::string places;
    for (const auto place : values) places += little_endian(place, 4);
    const auto value_list = values.empty() ? 0xFFFFFFFFU : cell(places);
    return cell("nk" + little_endian(0x20, 2) + std::string(16, '\0') + little_endian(subkeys, 4) +
                little_endian(0, 4) + little_endian(list, 4) + little_endian(0xFFFFFFFFU, 4) +
                little_endian(values.size(), 4) + little_endian(value_list, 4) + std::string(28, '\0') +
                little_endian(name.size(), 2) + little_endian(0, 2) + name);
  }

  /// A list of keys with their hints.
  std::uint32_t list(const std::string& form,
                     const std::vector<std::pair<std::uint32_t, std::uint32_t>>& keys) {
    std::string all = form + little_endian(keys.size(), 2);
    for (const auto& [place, hint] : keys)
      all += little_endian(place, 4) + (form == "li" || form == "ri" ? "" : little_endian(hint, 4));
    return cell(all);
  }

  /// A key with subkeys, listed without hints.
  std::uint32_t parent(const std::string& name, const std::vector<std::uint32_t>& keys) {
    std::vector<std::pair<std::uint32_t, std::uint32_t>> listed;
    listed.reserve(keys.size());
    for (const auto place : keys) listed.emplace_back(place, 0);
    return key(name, {}, keys.size(), list("li", listed));
  }

  std::string hive(std::uint32_t root) const {
    auto header = "regf" + little_endian(3, 4) + little_endian(2, 4) + std::string(8, '\0') +
                  little_endian(1, 4) + little_endian(5, 4) + little_endian(0, 4) + little_endian(1, 4) +
                  little_endian(root, 4) + little_endian(end_, 4);
    header.resize(4096);
    return with_checksum(header + pages_ + free_space());
  }

  static std::string with_checksum(std::string hive) {
    for (std::size_t byte = 0; byte < 4; ++byte) {
      char sum = 0;
      for (std::size_t at = byte; at < 508; at += 4) sum = static_cast<char>(sum ^ hive[at]);
      hive[508 + byte] = sum;
    }
    return hive;
  }

 private:
  /// The rest of the last page.
  std::string free_space() const {
    const auto size = end_ - pages_.size();
    return size == 0 ? std::string() : little_endian(size, 4) + std::string(size - 4, '\0');
  }

  std::string pages_;
  std::size_t end_ = 0;  // of the last page
};

}  // namespace support
