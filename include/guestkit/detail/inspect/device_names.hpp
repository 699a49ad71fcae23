// Finds the device for a name in a guest's fstab or crypttab.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/inspect/fstab.hpp"
#include "guestkit/detail/inspect/layout.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// A volume's name as LVM writes it below /dev/mapper.
std::string mapper_name(std::string_view volume);

/// A disk or partition, as a kernel numbers those that it finds on a bus.
struct bus_name {
  std::string bus = {};   ///< "sd", "nvme", …
  std::string disk = {};  ///< "/dev/sda", "/dev/nvme0n1"
  std::size_t index = 0;  ///< which disk of the bus, from 0
  std::string partition = {};
};

/// Splits /dev/hda1, sda1, vda1, xvda1, nvme0n1p1 and mmcblk0p1 into their parts.
std::optional<bus_name> bus_name_of(std::string_view name);

/// What the names of one disk's partitions have in common: the bus, or the path with the disk's serial number
/// or location. Empty for other names.
std::string scheme_of(const std::string& name);

/// Decodes udev's encoding of names below /dev/disk: \x20 is a blank.
std::string without_hex_escapes(std::string_view text);

/// The device for a name in a guest's files, or why there is none to use.
struct named_device {
  std::vector<std::string> devices = {};  ///< more than one: it may be any of them
  std::string why = {};                   ///< empty, and no device: the name stands for no disk

  bool is_known() const { return devices.size() == 1; }
};

/// Finds the devices that a guest's files name: by their contents, or, if these are unambiguous, by the names
/// of the kernel or LVM.
class device_names {
 public:
  /// @param root  the filesystem of the guest's /; may be empty
  device_names(guest_actions& g, layout& layout, std::string root);

  /// Learns from crypttab(5) how the guest names the devices that it opens.
  void read_crypttab(std::string_view text);

  /// Whether crypttab has the last part of that path as a name.
  bool is_in_crypttab(std::string_view path) const {
    return crypttab_.contains(std::string(path.substr(path.rfind('/') + 1)));
  }

  /// Learns how the guest names its disks and arrays and, from the name of /, the order of its disks.
  void learn(const std::string& spec, bool is_root);

  /// Whether the disks are in a different order here than in the guest.
  bool are_reordered() const noexcept { return !known_disks_.empty(); }

  named_device find(const std::string& spec);

 private:
  /// Like libblkid, compares UUIDs without regard to case, and labels byte by byte.
  named_device tagged(std::string_view fact, const std::string& value);

  named_device by_path(const std::string& spec);

  /// A volume by its group's UUID followed by its own.
  named_device volume_with(const std::string& uuids);

  /// An encrypted device that was opened, by guestkit's name for it or the guest's.
  named_device opened(const std::string& spec);

  /// The array with that name, or the only one if the guest has no other; its numbers differ from the
  /// appliance's.
  named_device array(const std::string& spec);

  /// The array with that UUID, however it is written, or a partition of it: UUID-partNUMBER.
  named_device array_with(const std::string& name);

  /// Assumes that the disks were given in the guest's order: there is no other clue.
  named_device on_bus(const bus_name& name);

  /// A name that contains a disk's serial number or location.
  named_device on_only_disk(const std::string& spec);

  /// Why a name is not one of the only disk that was given: the guest has names of several, and / has that of
  /// another one. Empty if it may be.
  std::string other_disk(const std::string& scheme) const;

  named_device partition(const std::string& disk, const std::string& number);

  guest_actions& g_;
  layout& layout_;
  std::string root_;
  std::map<std::string, std::string> crypttab_;
  std::string root_name_;                           // what fstab has for /
  std::set<std::string> schemes_;                   // of the names of its disks, as scheme_of() has them
  std::set<std::string> arrays_;                    // by the guest's names
  std::map<std::string, std::string> known_disks_;  // the appliance's by the guest's, where / shows it
  bool in_crypttab_ = false;
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/device_names.ipp"
#endif
