#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "guestkit/detail/base/endian.hpp"
#include "guestkit/detail/base/error_of.hpp"
#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/base/text.hpp"
#include "guestkit/detail/inspect/layout_description.hpp"
#include "guestkit/detail/inspect/mounts.hpp"
#include "guestkit/detail/inspect/report.hpp"
#include "guestkit/detail/inspect/untrusted_bytes.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE std::optional<md_superblock> md_superblock_in(std::string_view bytes) {
  if (bytes.size() < 96) return std::nullopt;
  const untrusted_bytes block{std::string(bytes)};
  if (block.le32(0) != 0xa92b4efcU || block.le32(4) != 1) return std::nullopt;
  const auto name = bytes.substr(32, 32);
  const auto level = static_cast<std::int32_t>(block.le32(72));
  return md_superblock{std::string(name.substr(0, name.find('\0'))),
                       level == -1 ? "linear" : "raid" + std::to_string(level), block.le32(92)};
}

/// Describes the layout of one guest's disks.
class layout_description {
 public:
  layout_description(guest_actions& g, layout& layout) : g_(g), layout_(layout) {}

  /// Everything that can be found out without mounting.
  void describe(Inspection& found) {
    describe_partitions(found);
    describe_arrays(found);
    describe_volume_groups(found);
    for (const auto& device : layout_.candidates()) describe_content(device, found);
  }

  /// How full the filesystems are, and which cannot be mounted.
  void measure(Inspection& found) {
    for (std::size_t i = 0; i < found.filesystems.size(); ++i) {
      const auto [device, type, label, uuid, size, used] = found.filesystems[i];
      if (type == "swap" || type == "unknown") continue;
      if (!layout_.usage(device)) try_mount(device, type, uuid, found);
      if (const auto known = layout_.usage(device)) {
        found.filesystems[i].size = known->size;
        found.filesystems[i].used = known->used;
      }
      if (type == "btrfs") i += add_subvolumes(i, found);
    }
    const auto order = layout_.candidates();
    const auto place = [&](const auto& shut) {
      return std::ranges::find(order, shut.device) - order.begin();
    };
    std::ranges::stable_sort(found.unopened, {}, place);
  }

 private:
  /// What is missing from the volume group of this volume; empty if nothing is.
  std::string missing_of(const std::string& volume) {
    for (const auto& [group, message] : incomplete_)
      if (volume.starts_with("/dev/" + group + "/")) return message;
    return {};
  }

  static std::string counted(std::size_t count, const std::string& thing) {
    return std::to_string(count) + ' ' + thing + (count == 1 ? "" : "s");
  }

  static std::string told_missing(const std::string& group, std::size_t all, const string_list& missing) {
    std::string uuids;
    constexpr std::size_t most = 8;
    for (std::size_t i = 0; i < std::min(most, missing.size()); ++i)
      uuids += (i == 0 ? "" : ", ") + missing[i];
    return "of the " + counted(all, "physical volume") + " of the volume group " + group + ", " +
           std::to_string(missing.size()) + (missing.size() == 1 ? " is" : " are") + " missing (" + uuids +
           (missing.size() > most ? ", ..." : "") + ")";
  }

  void describe_partitions(Inspection& found) {
    constexpr std::uint64_t sector = 512;  // blkid's unit on every disk
    const auto number = [&](const std::string& device, const char* key) {
      return static_cast<std::uint64_t>(number_of(layout_.fact(device, key)).value_or(0));
    };
    for (const auto& device : layout_.partitions())
      found.partitions.push_back({.device = device,
                                  .disk = layout_.disk_of(device),
                                  .number = static_cast<int>(number(device, "PART_ENTRY_NUMBER")),
                                  .start = sector * number(device, "PART_ENTRY_OFFSET"),
                                  .size = sector * number(device, "PART_ENTRY_SIZE"),
                                  .scheme = layout_.fact(device, "PART_ENTRY_SCHEME"),
                                  .type = layout_.fact(device, "PART_ENTRY_TYPE"),
                                  .uuid = layout_.fact(device, "PART_ENTRY_UUID"),
                                  .name = layout_.fact(device, "PART_ENTRY_NAME")});
  }

  InspectedLayer& layer(Inspection& found, const char* kind, const std::string& uuid) {
    for (auto& known : found.layers)
      if (known.kind == kind && bare_uuid(known.uuid) == bare_uuid(uuid)) return known;
    return found.layers.emplace_back(InspectedLayer{.kind = kind, .uuid = uuid});
  }

  void describe_arrays(Inspection& found) {
    for (const auto& device : layout_.arrays()) {
      hashtable detail;
      if (const auto error = error_of([&] { detail = g_.md_detail(device); }))
        found.failures.push_back(failure("filesystems", *error));
      if (detail["uuid"].empty()) {  // there is no telling which members are its
        found.layers.push_back({.kind = "md", .devices = {device}});
        has_untold_array_ = true;
        continue;
      }
      auto& array = layer(found, "md", detail["uuid"]);
      array.level = detail["level"];
      array.name = detail["name"];
      array.devices.push_back(device);
    }
  }

  void describe_volume_groups(Inspection& found) {
    // By UUID, because pvs_full uses the names of the appliance's kernel, which may call the first disk sdb.
    std::map<std::string, std::string> members;
    for (const auto& device : layout_.physical_volumes())
      members[bare_uuid(layout_.fact(device, "UUID"))] = device;
    if (members.empty()) return;
    for (const auto& known : layout_.groups()) {
      auto& group = layer(found, "lvm", known.uuid);
      group.name = known.name;
      string_list missing;
      for (const auto& member : known.members)
        if (const auto pv = members.find(bare_uuid(member.uuid)); pv != members.end())
          group.members.push_back(pv->second);
        else
          missing.push_back(member.uuid);
      if (known.is_incomplete && !missing.empty())
        incomplete_[known.name] = told_missing(known.name, known.members.size(), missing);
      for (const auto& volume : layout_.volumes())
        if (volume.starts_with("/dev/" + known.name + "/")) group.devices.push_back(volume);
    }
  }

  void describe_content(const std::string& device, Inspection& found) {
    const auto type = layout_.fact(device, "TYPE"), uuid = layout_.fact(device, "UUID");
    if (type == "crypto_LUKS" || type == "BitLocker") return describe_encrypted(device, type, uuid, found);
    if (layout_.is_container(device)) return describe_member(device, type, uuid, found);
    found.filesystems.push_back({.device = device,
                                 .type = type.empty() ? "unknown" : type,
                                 .label = layout_.fact(device, "LABEL"),
                                 .uuid = uuid});
    if (!type.empty() || layout_.holds_no_filesystem(device)) return;
    const auto missing = missing_of(device);
    found.unopened.push_back({.device = device,
                              .type = "unknown",
                              .reason = missing.empty() ? "unknown" : "incomplete",
                              .message = missing.empty() ? "no filesystem that blkid knows" : missing});
  }

  /// Describes an array that cannot be assembled, from what a member records about it.
  std::string told_array(const std::string& member) {
    const auto version = layout_.fact(member, "VERSION");
    std::optional<md_superblock> block;
    if (version == "1.1" || version == "1.2")
      error_of([&] {
        const buffer bytes = g_.pread_device(member, 128, version == "1.1" ? 0 : 4096);
        block = md_superblock_in(bytes.view());
      });
    if (!block) return "an array that cannot be assembled";
    std::size_t here = 0;
    const auto uuid = bare_uuid(layout_.fact(member, "UUID"));
    for (const auto& device : layout_.physical())
      if (layout_.fact(device, "TYPE") == "linux_raid_member" &&
          bare_uuid(layout_.fact(device, "UUID")) == uuid)
        ++here;
    return "the array " + excerpt(block->name) + " (" + block->level + ") that cannot be assembled: of its " +
           counted(block->devices, "device") + ", " + std::to_string(here) + (here == 1 ? " is" : " are") +
           " here";
  }

  /// Describes a part of something larger, such as an array or a volume group, which may be incomplete.
  void describe_member(const std::string& device, const std::string& type, const std::string& uuid,
                       Inspection& found) {
    constexpr std::array without_files{"DM_verity_hash", "jbd", "xfs_external_log"};  // hashes and journals
    const auto shut = [&](const char* reason, const std::string& message) {
      found.unopened.push_back(
          {.device = device, .type = type, .uuid = uuid, .reason = reason, .message = message});
    };
    if (type == "linux_raid_member") {
      auto& array = layer(found, "md", uuid);
      array.members.push_back(device);
      if (!array.devices.empty()) return;
      if (has_untold_array_)
        shut("unknown",
             "a member of an array of which mdadm tells nothing, or of one that cannot be assembled");
      else
        shut("incomplete", "a member of " + told_array(device));
    } else if (type == "LVM2_member") {
      if (std::none_of(found.layers.begin(), found.layers.end(), [&](const auto& group) {
            return std::find(group.members.begin(), group.members.end(), device) != group.members.end();
          }))
        shut("unknown", "a physical volume without a volume group");
    } else if (std::ranges::find(without_files, type) == without_files.end()) {
      shut("unknown", "libguestfs does not open a " + type);
    }
  }

  /// Inserts the subvolumes after their filesystem; returns how many.
  std::size_t add_subvolumes(std::size_t whole, Inspection& found) {
    std::vector<InspectedFilesystem> volumes;
    g_.umount_all();  // the daemon mounts it itself
    error_of([&] {
      for (const auto& volume : layout_.subvolumes(found.filesystems[whole].device)) {
        auto filesystem = found.filesystems[whole];
        filesystem.device = "btrfsvol:" + filesystem.device + "/" + volume.btrfssubvolume_path;
        filesystem.size = filesystem.used = std::nullopt;
        volumes.push_back(std::move(filesystem));
      }
    });
    found.filesystems.insert(found.filesystems.begin() + static_cast<std::ptrdiff_t>(whole) + 1,
                             volumes.begin(), volumes.end());
    return volumes.size();
  }

  /// What a btrfs lacks of its devices, from what this one records about it; empty if nothing.
  std::string missing_of_btrfs(const std::string& device, const std::string& uuid) {
    constexpr std::size_t superblock = 65536, magic = 64, num_devices = 136;
    std::uint64_t all = 0;
    error_of([&] {
      const buffer read = g_.pread_device(device, 256, superblock);
      const auto bytes = read.view();
      if (bytes.size() == 256 && bytes.substr(magic, 8) == "_BHRfS_M")
        all = little_endian(bytes.substr(num_devices, 8));
    });
    const auto devices = layout_.candidates();
    const auto here = static_cast<std::uint64_t>(std::ranges::count_if(devices, [&](const auto& other) {
      return layout_.fact(other, "TYPE") == "btrfs" && layout_.fact(other, "UUID") == uuid;
    }));
    if (here >= all) return {};
    return "of the " + counted(all, "device") + " of the btrfs " + uuid + ", " + std::to_string(here) +
           (here == 1 ? " is" : " are") + " here";
  }

  void try_mount(const std::string& device, const std::string& type, const std::string& uuid,
                 Inspection& found) {
    g_.umount_all();
    const auto error = error_of([&] {
      mount_at(g_, device, "/", true);
      layout_.measure_mounted(device, "/");
    });
    if (!error) return;
    const auto message = one_line(error->message());
    const bool hibernated = type == "swsuspend" || message.find("hibernat") != std::string::npos;
    const bool is_known = message.find("unknown filesystem type") == std::string::npos;  // to the kernel
    const auto missing = type == "btrfs" ? missing_of_btrfs(device, uuid) : std::string();
    found.unopened.push_back({.device = device,
                              .type = type,
                              .uuid = uuid,
                              .reason = hibernated         ? "hibernated"
                                        : !missing.empty() ? "incomplete"
                                        : is_known         ? "damaged"
                                                           : "unknown",
                              .message = missing.empty() ? message : missing});
  }

  void describe_encrypted(const std::string& device, const std::string& type, const std::string& uuid,
                          Inspection& found) {
    auto& encrypted = found.layers.emplace_back(InspectedLayer{
        .kind = type == "BitLocker" ? "bitlocker" : "luks", .uuid = uuid, .members = {device}});
    if (const auto opened = layout_.opened().find(device); opened != layout_.opened().end()) {
      encrypted.devices.push_back(opened->second);
      return;
    }
    found.unopened.push_back(
        {.device = device,
         .type = type,
         .uuid = uuid,
         .reason = layout_.trials(device).short_of_memory ? "short of memory" : "encrypted",
         .message = why_shut(device, uuid)});
  }

  std::string why_shut(const std::string& device, const std::string& uuid) const {
    const auto done = layout_.trials(device);
    const std::string names = device + (uuid.empty() ? "" : " or " + uuid);
    if (done.keys == 0) return "needs a key for " + names;
    if (done.short_of_memory)
      return "the appliance has too little memory to try a key on " + names +
             ": give it more, such as LIBGUESTFS_MEMSIZE=4096";
    return "none of the keys that were tried opens it (" + std::to_string(done.keys) +
           "); it needs one for " + names;
  }

  guest_actions& g_;
  layout& layout_;
  std::map<std::string, std::string> incomplete_;  // what is missing, by volume group
  bool has_untold_array_ = false;                  // an array whose members are not known
};

GUESTKIT_INLINE void describe_layout(guest_actions& g, layout& layout, Inspection& found) {
  layout_description(g, layout).describe(found);
}

GUESTKIT_INLINE void measure_filesystems(guest_actions& g, layout& layout, Inspection& found) {
  layout_description(g, layout).measure(found);
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
