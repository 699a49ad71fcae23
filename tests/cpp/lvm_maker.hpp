// Makes physical volumes of LVM in memory, and reads them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <guestkit/detail/inspect/lvm_metadata.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "hive_maker.hpp"

namespace support {

inline const std::string usual_uuid = "6ku4PXCkxFLbKiyAWSnoEi2oS9VSDvsf";

/// Makes the checksums of the label and of the header of the metadata anew.
inline std::string with_lvm_checksums(std::string disk) {
  using guestkit::detail::lvm_checksum;
  disk.replace(512 + 16, 4, little_endian(lvm_checksum(disk.substr(512 + 20, 492)), 4));
  disk.replace(4096, 4, little_endian(lvm_checksum(disk.substr(4096 + 4, 508)), 4));
  return disk;
}

/// A physical volume whose text begins there in its ring.
/// @param uuid  of 32 letters
inline std::string physical_volume(const std::string& text, std::size_t offset = 512,
                                   const std::string& uuid = usual_uuid) {
  constexpr std::size_t area = 65536;
  std::string disk(4096 + area, '\0');
  disk.replace(512, 8, "LABELONE");
  disk.replace(512 + 24, 8, "LVM2 001");
  disk.replace(512 + 20, 4, little_endian(32, 4));
  disk.replace(512 + 32, 32, uuid);
  disk.replace(512 + 72, 8, little_endian(1U << 20U, 8));                            // the data
  disk.replace(512 + 72 + 32, 16, little_endian(4096, 8) + little_endian(area, 8));  // the metadata
  disk.replace(4096 + 4, 16, " LVM2 x[5A%r0N*>");
  disk.replace(4096 + 24, 8, little_endian(4096, 8));
  disk.replace(4096 + 32, 8, little_endian(area, 8));
  disk.replace(4096 + 40, 8, little_endian(offset, 8));
  disk.replace(4096 + 48, 8, little_endian(text.size(), 8));
  disk.replace(4096 + 56, 4, little_endian(guestkit::detail::lvm_checksum(text), 4));
  const auto first = std::min(text.size(), area - std::min(area, offset));
  disk.replace(4096 + offset, first, text.substr(0, first));
  disk.replace(4096 + 512, text.size() - first, text.substr(first));
  return with_lvm_checksums(std::move(disk));
}

/// The groups on these disks.
inline auto read_volumes(const std::vector<std::string>& disks) {
  std::vector<guestkit::detail::device_reader> readers;
  readers.reserve(disks.size());
  for (const auto& disk : disks)
    readers.emplace_back([&disk](std::uint64_t at, std::size_t size) {
      return disk.substr(std::min(disk.size(), static_cast<std::size_t>(at)), size);
    });
  return guestkit::detail::read_volume_groups(readers);
}

}  // namespace support
