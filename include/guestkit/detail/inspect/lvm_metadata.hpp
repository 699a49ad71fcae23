// LVM's volume groups, read from the metadata that every physical volume holds.
//
// Each of LVM's commands takes tenths of a second in an emulated appliance; two short reads tell the same.
// Only ordinary groups are read: of linear and striped volumes, with nothing missing. For any other one the
// commands are asked.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/inspect/guest_actions.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

struct volume_group {
  std::string name = {};
  std::string uuid = {};     ///< without dashes, as libguestfs has it
  string_list members = {};  ///< the UUIDs of its physical volumes, likewise
  string_list volumes = {};  ///< the names of its logical volumes
  bool is_incomplete = false;
  std::int64_t version = 0;  ///< grows with each change
};

/// The group that this text describes; throws doubt if it is no ordinary one.
volume_group volume_group_in(std::string_view text);

/// LVM's checksum of a text.
std::uint32_t lvm_checksum(std::string_view text) noexcept;

/// The groups of these physical volumes, sorted by name; nothing if LVM's commands must be asked.
/// @param uuids  those of the physical volumes
std::optional<std::vector<volume_group>> read_volume_groups(guest_actions& g, const string_list& devices,
                                                            const string_list& uuids);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/lvm_metadata.ipp"
#endif
