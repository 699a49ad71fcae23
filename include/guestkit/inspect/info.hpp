// What an inspection finds, as values. Every text comes from the guest: hostile.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace guestkit {

/// Something that was asked for and could not be found out. The rest of the result is as good as without it.
struct InspectFailure {
  std::string part = {};     ///< what is missing, such as "applications"
  std::string message = {};  ///< why, in one line
  std::string op = {};       ///< the libguestfs action that failed; empty: none did
  int error_number = 0;
};

/// A disk of the guest, under the name that it has in the appliance.
struct InspectedDisk {
  std::string device = {};
  std::string format = {};         ///< QEMU's name; empty where guestkit did not open the disk itself
  std::uint64_t virtual_size = 0;  ///< in bytes
};

struct InspectedPartition {
  std::string device = {};
  std::string disk = {};
  int number = 0;
  std::uint64_t start = 0;  ///< in bytes
  std::uint64_t size = 0;   ///< in bytes
  std::string scheme = {};  ///< "gpt", "dos", …
  std::string type = {};    ///< of GPT a GUID, of MBR a number such as "0x83"
  std::string uuid = {};
  std::string name = {};  ///< GPT's label of the partition
};

/// What is between the partitions and the filesystems.
struct InspectedLayer {
  std::string kind = {};  ///< "lvm" (a volume group), "luks", "bitlocker", "md"
  std::string name = {};  ///< of the volume group or the array
  std::string uuid = {};
  std::string level = {};                 ///< of an array: "raid1", …
  std::vector<std::string> members = {};  ///< the devices beneath
  std::vector<std::string> devices = {};  ///< the devices on top; none: it was not opened
};

struct InspectedFilesystem {
  std::string device = {};  ///< or btrfsvol:/dev/…/subvolume
  std::string type = {};    ///< "ext4", "swap", …; "unknown"
  std::string label = {};
  std::string uuid = {};
  std::optional<std::uint64_t> size = {};  ///< in bytes; none: it was not mounted
  std::optional<std::uint64_t> used = {};
};

/// What may be a filesystem, but nobody could look inside.
struct UnopenedFilesystem {
  std::string device = {};
  std::string type = {};     ///< as far as known: "crypto_LUKS", "ntfs", …
  std::string uuid = {};     ///< by which a key can be given
  std::string reason = {};   ///< "encrypted", "hibernated", "unknown", "damaged"
  std::string message = {};  ///< the same for people: which key it wants, what the kernel said
};

/// An installed package, in the terms of its package format.
struct InspectedApplication {
  std::string name = {};
  std::string display_name = {};
  std::int32_t epoch = 0;
  std::string version = {};
  std::string release = {};
  std::string arch = {};
  std::string install_path = {};
  std::string publisher = {};
  std::string url = {};
  std::string source_package = {};
  std::string summary = {};
  std::string description = {};
  bool operator==(const InspectedApplication&) const = default;
};

struct InspectedUser {
  std::string name = {};
  std::int64_t uid = 0;
  std::int64_t gid = 0;
  std::string full_name = {};
  std::string home = {};
  std::string shell = {};
};

struct InspectedKernel {
  std::string version = {};
  std::string image = {};   ///< its path; empty: only the modules are there
  std::string initrd = {};  ///< its path, or empty
  bool modules = false;
};

/// A network interface as the guest's files set it up.
struct InspectedInterface {
  std::string name = {};                    ///< or a pattern
  std::string method = {};                  ///< "dhcp", "static", … as the file calls it
  std::vector<std::string> addresses = {};  ///< with the prefix's length where the file has it
  std::string gateway = {};
  std::vector<std::string> dns = {};
  std::string mac = {};
  std::string source = {};  ///< the file
};

/// What only Windows has.
struct InspectedWindows {
  std::string systemroot = {};
  std::string software_hive = {};
  std::string system_hive = {};
  std::string current_control_set = {};
};

/// An operating system on the disks. libguestfs says "unknown", and 0 for versions, where it cannot tell.
struct InspectedSystem {
  std::string root = {};  ///< the filesystem that holds it
  std::string type = {};
  std::string distro = {};
  std::string product_name = {};
  std::string product_variant = {};
  int major_version = 0;
  int minor_version = 0;
  std::string arch = {};
  std::string hostname = {};
  std::string package_format = {};
  std::string package_management = {};
  std::string osinfo = {};    ///< libosinfo's short name
  std::string build_id = {};  ///< of Windows; empty where libguestfs is too old to tell
  std::vector<std::pair<std::string, std::string>> mountpoints =
      {};                                                  ///< mountpoint, filesystem; shorter first
  std::vector<std::string> filesystems = {};               ///< what belongs to it, mounted or not
  std::map<std::string, std::string> drive_mappings = {};  ///< Windows' drive letters
  std::optional<InspectedWindows> windows = {};
  std::map<std::string, std::string> os_release = {};  ///< what the file itself says
  std::optional<std::vector<std::byte>> icon = {};     ///< a PNG

  std::vector<InspectedApplication> applications = {};
  /// Whether these are all: false where the database cannot be read, or was not asked for.
  bool applications_complete = false;
  std::vector<InspectedUser> users = {};
  std::vector<InspectedKernel> kernels = {};
  std::vector<std::string> services = {};  ///< that start by themselves
  std::vector<InspectedInterface> network = {};
  std::string timezone = {};
  std::string locale = {};
  std::string machine_id = {};
  std::vector<InspectFailure> failures = {};
};

/// How an answer was found.
struct InspectProvenance {
  std::string way = {};                       ///< "fast": guestkit's own rules; "libguestfs": inspect_os
  std::string reason = {};                    ///< why not fast; empty: it was
  std::string guestkit = {};                  ///< the version
  std::string libguestfs = {};                ///< the version
  bool verified = false;                      ///< both ways were gone
  std::vector<std::string> differences = {};  ///< where they differ; libguestfs' answer is the one reported
};

/// Everything known about the disks of one guest.
struct Inspection {
  InspectProvenance provenance = {};
  std::vector<InspectedDisk> disks = {};
  std::vector<InspectedPartition> partitions = {};
  std::vector<InspectedLayer> layers = {};
  std::vector<InspectedFilesystem> filesystems = {};
  std::vector<UnopenedFilesystem> unopened = {};
  std::vector<InspectedSystem> operating_systems = {};
};

}  // namespace guestkit
