// What lies on the block devices, as far as something must be assembled from it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace appliance {

struct Contents {
  bool md = false;     ///< a member of an array: of Linux, DDF or Intel's firmware
  bool lvm = false;    ///< a physical volume
  bool ldm = false;    ///< a dynamic disk of Windows
  bool btrfs = false;  ///< it may be one of several devices of a filesystem
  bool table = false;  ///< a table of partitions, for which LVM passes a device
};

/// Looks for the signatures where the programs that assemble such things look for them. Rather too much than
/// too little: those programs examine the rest themselves.
/// @param start, end  the device's first and last bytes
Contents contents_in(std::string_view start, std::string_view end, std::uint64_t size);

struct BlockDevice {
  std::string name;  ///< such as sda1
  Contents contents;
};

/// All block devices but those that are always there. What lies on a member of an assembled array is the
/// array's.
std::vector<BlockDevice> block_devices();

/// Whether an array with this member is assembled, be it started or not.
bool is_assembled(const BlockDevice& member);

/// Tells the kernel of a device of btrfs, for it mounts a filesystem of several only if it knows them all.
void register_btrfs(const std::string& name);

/// Activates the volume groups on these physical volumes, as LVM does, but without its programs.
/// @returns false if nothing was activated since LVM itself must decide
bool activate_ordinary_groups(const std::vector<std::string>& names);

}  // namespace appliance
