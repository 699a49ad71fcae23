// The block devices of a guest: partitions, arrays, volumes, and encrypted devices that keys open.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/files/guest_actions.hpp"
#include "guestkit/detail/inspect/lvm_metadata.hpp"
#include "guestkit/inspect_options.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// A UUID in a form for comparison, whether LVM, mdadm, cryptsetup or a person wrote it. Capitals matter only
/// in those of LVM, which consist of any letters.
std::string bare_uuid(std::string_view uuid);

/// Whether a filesystem, by libguestfs' name, is on that device: alone, or as a btrfs subvolume.
bool is_on(const std::string& filesystem, const std::string& device);

/// The block devices of an appliance and blkid's facts about them. Examines each only once.
class layout {
 public:
  /// How full a filesystem is.
  struct fill {
    std::uint64_t size = 0;  ///< in bytes
    std::uint64_t used = 0;
  };

  /// @param is_new  whether nobody else has had the appliance, so that no other keys have opened anything
  explicit layout(guest_actions& g, bool is_new = false);

  const string_list& disks();
  const string_list& partitions();
  const string_list& arrays();
  const string_list& volumes();

  /// LVM's volume groups; none if there is no physical volume.
  const std::vector<volume_group>& groups();

  /// The physical volumes of LVM, by device.
  string_list physical_volumes();

  /// Whether devices may be missing here, because libguestfs failed to list them.
  bool is_uncertain() const noexcept { return is_uncertain_; }

  /// Every block device with possible content except for logical volumes: disks without partitions,
  /// partitions, arrays, opened devices.
  const string_list& physical();
  /// The same, and the logical volumes.
  string_list candidates();

  /// blkid's facts about a device, unescaped; nothing if blkid does not recognize it.
  const hashtable& facts(const std::string& device);
  std::string fact(const std::string& device, const char* key);

  /// @param disk  a disk or an array
  bool is_partitioned(const std::string& disk);
  /// The disk or array that has the partition.
  std::string disk_of(const std::string& partition);

  /// Whether it is a partition that firmware and boot loaders use directly: nobody expects a filesystem
  /// there.
  bool holds_no_filesystem(const std::string& partition);

  /// Whether blkid knows the content, and that it is no filesystem: what is encrypted, a part of something
  /// larger, a journal; but not swap.
  bool is_container(const std::string& device);

  /// Whether libguestfs may find volumes of Windows' Logical Disk Manager.
  bool has_dynamic_disk();

  /// The ID of a btrfs filesystem's top level.
  static constexpr std::int64_t btrfs_top = 5;

  /// The subvolumes of a btrfs filesystem.
  /// @param where  the device; or where it is mounted, which saves libguestfs a mount of its own
  const std::vector<BTRFSSubvolume>& subvolumes(const std::string& device, const std::string& where);
  const std::vector<BTRFSSubvolume>& subvolumes(const std::string& device) {
    return subvolumes(device, device);
  }

  /// The ID of the subvolume that a mount of the device shows.
  std::int64_t default_subvolume(const std::string& device, const std::string& where);

  /// Opens whatever the keys open; they come from readable_keys().
  void unlock(const std::vector<InspectKey>& keys);

  /// The devices that keys have opened, in this inspection or an earlier one of the appliance, by the
  /// encrypted one.
  const std::map<std::string, std::string>& opened() const noexcept { return opened_; }

  /// What was done to open an encrypted device.
  struct key_trials {
    int keys = 0;                  ///< how many were tried
    bool short_of_memory = false;  ///< whether one of them could not be tried
  };
  key_trials trials(const std::string& device) const;

  /// Measures a filesystem while it is mounted.
  void measure_mounted(const std::string& device, const std::string& mountpoint);

  /// The usage of a filesystem that was measured.
  std::optional<fill> usage(const std::string& device) const;

 private:
  /// Extended MBR partitions, Microsoft's reserved ones and those of dynamic disks hold no filesystem.
  bool is_no_container(const std::string& partition);

  /// Mapped devices that are not logical volumes: opened devices. libguestfs also lists the components of
  /// thin pools and mirrors.
  const string_list& mapped();

  /// The prefix of the device mapper's names for the parts of a volume group.
  static std::string mapper_prefix(const std::string& group);

  /// Lists what is not known yet. An error counts as an empty list; not one that ends the task, since the
  /// appliance may live on, so that a later part can ask again.
  const string_list& once(std::optional<string_list>& known, const std::function<string_list()>& list);

  /// The groups according to LVM's commands, without their volumes.
  std::vector<volume_group> asked_groups();

  /// LVM does not automatically activate the intact volumes of a group with a missing part, so this does.
  void open_incomplete_groups();

  /// Returns whether it has opened any.
  bool unlock_some(const string_list& devices, const std::vector<InspectKey>& keys);

  /// The name that systemd and virt-inspector use, so that a guest's fstab matches it; with a number if a
  /// device with the same UUID, such as a snapshot, has it.
  std::string mapped_name(const std::string& type, const std::string& uuid, const std::string& device) const;

  guest_actions& g_;
  bool is_new_;
  bool are_read_ = false;              // the volume groups, from their metadata
  bool is_uncertain_ = false;          // some list of devices failed
  std::map<std::string, fill> usage_;  // by device
  std::optional<string_list> disks_, partitions_, arrays_, mapped_, volumes_, physical_;
  std::map<std::string, std::string> disk_of_;  // by partition
  std::optional<std::set<std::string>> partitioned_;
  std::optional<std::vector<volume_group>> groups_;
  std::map<std::string, hashtable> facts_;
  std::map<std::string, std::vector<BTRFSSubvolume>> subvolumes_;  // by device
  std::map<std::string, std::int64_t> default_subvolume_;
  std::map<std::string, std::string>& opened_;  // of the handle
  std::map<std::string, key_trials> trials_;    // by the encrypted device
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/layout.ipp"
#endif
