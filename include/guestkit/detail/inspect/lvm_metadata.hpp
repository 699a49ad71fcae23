// LVM's volume groups, read from the metadata that every physical volume holds.
//
// Each of LVM's commands takes tenths of a second in an emulated appliance; two short reads tell the same.
// Only ordinary groups are read: of linear and striped volumes, with nothing missing. For any other one the
// commands are asked. The appliance's /init activates ordinary groups by the same reading.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// A physical volume as its group knows it.
struct lvm_member {
  std::string uuid = {};          ///< without dashes
  std::string name = {};          ///< in the metadata, such as pv0
  std::int64_t first_sector = 0;  ///< where its extents begin, in sectors of 512 bytes
  std::int64_t extents = 0;       ///< how many it has
  std::size_t device = 0;         ///< which of the devices it is

  bool operator==(const lvm_member&) const = default;
};

/// Extents of a logical volume that lie on one member, or alternate between several.
struct lvm_segment {
  struct stripe {
    std::string member = {};  ///< its name
    std::int64_t extent = 0;

    bool operator==(const stripe&) const = default;
  };

  std::int64_t first_extent = 0;
  std::int64_t extents = 0;
  std::int64_t stripe_sectors = 0;
  std::vector<stripe> stripes = {};

  bool operator==(const lvm_segment&) const = default;
};

struct lvm_volume {
  std::string name = {};
  std::string uuid = {};  ///< without dashes
  bool is_writable = true;
  std::vector<lvm_segment> segments = {};

  bool operator==(const lvm_volume&) const = default;
};

struct volume_group {
  std::string name = {};
  std::string uuid = {};  ///< without dashes, as libguestfs has it
  std::int64_t extent_sectors = 0;
  std::vector<lvm_member> members = {};
  std::vector<lvm_volume> volumes = {};
  bool is_incomplete = false;
  std::int64_t version = 0;  ///< grows with each change
};

/// Reads from a device, from a byte on; what it returns is shorter where the device ends.
using device_reader = std::function<std::string(std::uint64_t at, std::size_t size)>;

/// The group that this text describes; throws doubt if it is no ordinary one.
volume_group volume_group_in(std::string_view text);

/// The name of a group or a volume within that of what the device mapper maps: a single dash separates there.
std::string with_double_dashes(std::string_view name);

/// LVM's checksum of a text.
std::uint32_t lvm_checksum(std::string_view text) noexcept;

/// The groups of these physical volumes, sorted by name; nothing if LVM's commands must be asked. What a
/// reader throws passes through.
std::optional<std::vector<volume_group>> read_volume_groups(const std::vector<device_reader>& devices);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/lvm_metadata.ipp"
#endif
