// What the disks hold beneath the files: partitions, layers, filesystems, and what keeps them shut.
#pragma once

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../files.hpp"
#include "../generated/inspection.hpp"
#include "borrowed.hpp"
#include "options.hpp"
#include "texts.hpp"

namespace guestkit::detail {

/// libguestfs' message as one line, without its advice for whoever debugs libguestfs.
inline std::string one_line(std::string text) {
  for (const std::string_view advice :
       {"This usually means", "To see full error messages", "Do:", "(in guestfish)"})
    if (const auto at = text.find(advice);
        at != std::string::npos && at > 0 && text.rfind('\n', at) != std::string::npos)
      text.resize(text.rfind('\n', at));
  std::string line;
  for (const auto& word : words_of(text)) line += (line.empty() ? "" : " ") + word;
  while (line.ends_with('.')) line.pop_back();
  return line;
}

inline InspectFailure failure(const char* part, const Error& error) {
  return {part, one_line(error.message()), error.op(), error.error_number()};
}

/// A UUID as LVM, mdadm, cryptsetup and people write it, for comparing.
inline std::string bare_uuid(std::string_view uuid) {
  std::string bare;
  for (const char c : uuid)
    if (c != '-' && c != ':') bare += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return bare;
}

/// Looks at block devices, each once.
template <class Guest>
class layout {
 public:
  explicit layout(Guest& g) : g_(g) {}

  const string_list& disks() {
    if (!disks_) disks_ = g_.list_devices();
    return *disks_;
  }
  const string_list& partitions() {
    if (!partitions_) partitions_ = g_.list_partitions();
    return *partitions_;
  }

  /// What blkid says of a device; nothing if it does not know it.
  const hashtable& facts(const std::string& device) {
    const auto found = facts_.find(device);
    if (found != facts_.end()) return found->second;
    auto& facts = facts_[device];
    attempt([&] { facts = g_.blkid(device); });
    return facts;
  }
  std::string fact(const std::string& device, const char* key) {
    const auto& all = facts(device);
    const auto found = all.find(key);
    return found == all.end() ? std::string() : found->second;
  }

  bool is_partitioned(const std::string& disk) {
    const auto& all = partitions();
    return std::any_of(all.begin(), all.end(), [&](const auto& part) { return disk_of(part) == disk; });
  }

  std::string disk_of(const std::string& partition) {
    std::string longest;
    for (const auto& disk : disks())
      if (partition.starts_with(disk) && disk.size() > longest.size()) longest = disk;
    return longest;
  }

  /// Every block device that may hold something: disks without partitions, partitions, arrays, volumes.
  string_list candidates() {
    auto all = physical();
    all.insert(all.end(), volumes().begin(), volumes().end());
    return all;
  }

  /// Opens what the keys open. What they do not open is found again by describe().
  void unlock(const std::vector<InspectKey>& keys) {
    if (keys.empty()) return;
    for (const auto& key : keys) g_.state()->console.hide(passphrase_of(key));  // before any call can say it
    string_list first;
    for (const auto& disk : disks())
      if (!is_partitioned(disk)) first.push_back(disk);
    for (const auto* list : {&partitions(), &arrays()}) first.insert(first.end(), list->begin(), list->end());
    if (!unlock_some(first, keys)) return unlock_volumes(keys);
    attempt([&] { g_.lvm_scan(true); });
    mapped_.reset();
    volumes_.reset();
    unlock_volumes(keys);
  }

  const string_list& volumes() {
    return listed(volumes_, [&] { return has_physical_volume() ? g_.lvs() : string_list(); });
  }

  /// What keys have opened: the device on top, by the encrypted one.
  const std::map<std::string, std::string>& opened() const noexcept { return opened_; }

  /// How full a filesystem is, while it is mounted.
  void measure_mounted(const std::string& device, const std::string& mountpoint) {
    const auto status = g_.statvfs(mountpoint);
    const auto unit = static_cast<std::uint64_t>(status.frsize);
    usage_[device] = {unit * static_cast<std::uint64_t>(status.blocks),
                      unit * static_cast<std::uint64_t>(status.blocks - status.bfree)};
  }

  void describe(Inspection& found) {
    describe_partitions(found);
    describe_arrays(found);
    describe_volume_groups(found);
    for (const auto& device : candidates()) describe_content(device, found);
  }

 private:
  string_list physical() {
    string_list all;
    for (const auto& disk : disks())
      if (!is_partitioned(disk)) all.push_back(disk);
    for (const auto& partition : partitions())
      if (!is_no_container(partition)) all.push_back(partition);
    for (const auto* list : {&arrays(), &mapped()}) all.insert(all.end(), list->begin(), list->end());
    return all;
  }

  bool has_physical_volume() {
    const auto all = physical();
    return std::any_of(all.begin(), all.end(),
                       [&](const auto& device) { return fact(device, "TYPE") == "LVM2_member"; });
  }

  /// MBR's extended partitions, Microsoft's reserved one and dynamic disks' hold no filesystem.
  bool is_no_container(const std::string& partition) {
    constexpr std::array types{"0x5",
                               "0xf",
                               "0x85",
                               "5808c8aa-7e8f-42e0-85d2-e1e90434cfb3",
                               "0x42",
                               "af9b60a0-1431-4f62-bc68-3311714a69ad",
                               "e3c9e316-0b5c-4db8-817d-f92df00215ae",
                               "caddebf1-4400-4de8-b103-12117dcf3ccf"};
    const auto type = fact(partition, "PART_ENTRY_TYPE");
    return std::find(types.begin(), types.end(), type) != types.end();
  }

  const string_list& arrays() {
    return listed(arrays_, [&] { return g_.list_md_devices(); });
  }
  /// Those that are no logical volumes: what was opened. libguestfs lists what a thin pool or a mirror
  /// consists of, too.
  const string_list& mapped() {
    return listed(mapped_, [&] {
      auto all = g_.list_dm_devices();
      string_list groups;
      if (!all.empty()) attempt([&] { groups = g_.vgs(); });
      std::erase_if(all, [&](const auto& device) {
        return std::none_of(opened_.begin(), opened_.end(),
                            [&](const auto& o) { return o.second == device; }) &&
               std::any_of(groups.begin(), groups.end(),
                           [&](const auto& group) { return device.starts_with(mapper_prefix(group)); });
      });
      return all;
    });
  }

  /// What the device mapper's names of a volume group's parts begin with.
  static std::string mapper_prefix(const std::string& group) {
    std::string prefix = "/dev/mapper/";
    for (const char c : group) prefix += c == '-' ? std::string("--") : std::string(1, c);
    return prefix + "-";
  }

  template <class List>
  const string_list& listed(std::optional<string_list>& known, List&& list) {
    if (!known) {
      known.emplace();
      attempt([&] { *known = list(); });  // an appliance without LVM or MD
    }
    return *known;
  }

  void unlock_volumes(const std::vector<InspectKey>& keys) {
    if (unlock_some(volumes(), keys)) mapped_.reset();
  }

  bool unlock_some(const string_list& devices, const std::vector<InspectKey>& keys) {
    bool opened = false;
    for (const auto& device : devices) {
      const auto type = fact(device, "TYPE");
      if (type != "crypto_LUKS" && type != "BitLocker") continue;
      const auto uuid = fact(device, "UUID");
      for (const auto& key : keys) {
        if (opened_.contains(device)) break;
        if (!key.device.empty() && key.device != device && bare_uuid(key.device) != bare_uuid(uuid)) continue;
        ++tried_[device];
        const auto name = mapped_name(type, uuid, device);
        if (attempt([&] { g_.cryptsetup_open(device, passphrase_of(key), name); })) continue;
        opened_[device] = "/dev/mapper/" + name;
        opened = true;
      }
    }
    return opened;
  }

  /// As systemd and virt-inspector name it, so that a guest's fstab finds it.
  static std::string mapped_name(const std::string& type, const std::string& uuid,
                                 const std::string& device) {
    if (type == "crypto_LUKS" && !uuid.empty()) return "luks-" + uuid;
    std::string name = "crypt";
    for (const char c : device.substr(device.find('/', 1) + 1))
      if (std::isalnum(static_cast<unsigned char>(c)) != 0) name += c;
    return name;
  }

  void describe_partitions(Inspection& found) {
    constexpr std::uint64_t sector = 512;  // blkid's unit on every disk
    const auto number = [&](const std::string& device, const char* key) {
      return static_cast<std::uint64_t>(number_of(fact(device, key)).value_or(0));
    };
    for (const auto& device : partitions())
      found.partitions.push_back({.device = device,
                                  .disk = disk_of(device),
                                  .number = static_cast<int>(number(device, "PART_ENTRY_NUMBER")),
                                  .start = sector * number(device, "PART_ENTRY_OFFSET"),
                                  .size = sector * number(device, "PART_ENTRY_SIZE"),
                                  .scheme = fact(device, "PART_ENTRY_SCHEME"),
                                  .type = fact(device, "PART_ENTRY_TYPE"),
                                  .uuid = fact(device, "PART_ENTRY_UUID"),
                                  .name = fact(device, "PART_ENTRY_NAME")});
  }

  InspectedLayer& layer(Inspection& found, const char* kind, const std::string& uuid) {
    for (auto& known : found.layers)
      if (known.kind == kind && bare_uuid(known.uuid) == bare_uuid(uuid)) return known;
    return found.layers.emplace_back(InspectedLayer{.kind = kind, .uuid = uuid});
  }

  void describe_arrays(Inspection& found) {
    for (const auto& device : arrays()) {
      hashtable detail;
      attempt([&] { detail = g_.md_detail(device); });
      auto& array = layer(found, "md", detail["uuid"]);
      array.level = detail["level"];
      array.name = detail["name"];
      array.devices.push_back(device);
    }
  }

  void describe_volume_groups(Inspection& found) {
    if (!has_physical_volume()) return;
    attempt([&] {
      // By UUID: pvs_full has the names that the appliance's kernel gave, which may call the first disk sdb.
      std::map<std::string, std::string> members;
      for (const auto& device : physical())
        if (fact(device, "TYPE") == "LVM2_member") members[bare_uuid(fact(device, "UUID"))] = device;
      for (const auto& vg : g_.vgs_full()) {
        auto& group = layer(found, "lvm", vg.vg_uuid);
        group.name = vg.vg_name;
        for (const auto& uuid : g_.vgpvuuids(vg.vg_name))
          if (const auto pv = members.find(bare_uuid(uuid)); pv != members.end())
            group.members.push_back(pv->second);
        for (const auto& volume : volumes())
          if (volume.starts_with("/dev/" + vg.vg_name + "/")) group.devices.push_back(volume);
      }
    });
  }

  void describe_content(const std::string& device, Inspection& found) {
    const auto type = fact(device, "TYPE"), uuid = fact(device, "UUID");
    if (type == "crypto_LUKS" || type == "BitLocker") return describe_encrypted(device, type, uuid, found);
    if (type.ends_with("_member")) return describe_member(device, type, uuid, found);
    found.filesystems.push_back({.device = device,
                                 .type = type.empty() ? "unknown" : type,
                                 .label = fact(device, "LABEL"),
                                 .uuid = uuid});
    if (type == "swap") return;
    if (type.empty()) {
      found.unopened.push_back({.device = device,
                                .type = "unknown",
                                .reason = "unknown",
                                .message = "no filesystem that blkid knows"});
      return;
    }
    if (type == "btrfs") describe_subvolumes(device, found);
    if (!usage_.contains(device)) try_mount(device, type, uuid, found);
    if (const auto known = usage_.find(device); known != usage_.end())
      for (auto& filesystem : found.filesystems)
        if (filesystem.device == device) {
          filesystem.size = known->second.size;
          filesystem.used = known->second.used;
        }
  }

  /// A part of something larger: an array or a volume group, which may be missing.
  void describe_member(const std::string& device, const std::string& type, const std::string& uuid,
                       Inspection& found) {
    const auto shut = [&](const char* reason, const std::string& message) {
      found.unopened.push_back(
          {.device = device, .type = type, .uuid = uuid, .reason = reason, .message = message});
    };
    if (type == "linux_raid_member") {
      auto& array = layer(found, "md", uuid);
      array.members.push_back(device);
      if (array.devices.empty()) shut("damaged", "a member of an array that cannot be assembled");
    } else if (type == "LVM2_member") {
      if (std::none_of(found.layers.begin(), found.layers.end(), [&](const auto& group) {
            return std::find(group.members.begin(), group.members.end(), device) != group.members.end();
          }))
        shut("damaged", "a physical volume without a volume group");
    } else {
      shut("unknown", "libguestfs does not open a " + type);
    }
  }

  void describe_subvolumes(const std::string& device, Inspection& found) {
    const auto whole = found.filesystems.back();
    attempt([&] {
      for (const auto& volume : g_.btrfs_subvolume_list(device)) {
        auto filesystem = whole;
        filesystem.device = "btrfsvol:" + device + "/" + volume.btrfssubvolume_path;
        found.filesystems.push_back(std::move(filesystem));
      }
    });
  }

  void try_mount(const std::string& device, const std::string& type, const std::string& uuid,
                 Inspection& found) {
    const auto error = attempt([&] {
      g_.mount_ro(device, "/");
      measure_mounted(device, "/");
    });
    g_.umount_all();
    if (!error) return;
    const auto message = one_line(error->message());
    const bool hibernated = type == "swsuspend" || message.find("hibernat") != std::string::npos;
    found.unopened.push_back({.device = device,
                              .type = type,
                              .uuid = uuid,
                              .reason = hibernated ? "hibernated" : "damaged",
                              .message = message});
  }

  void describe_encrypted(const std::string& device, const std::string& type, const std::string& uuid,
                          Inspection& found) {
    auto& encrypted = found.layers.emplace_back(InspectedLayer{
        .kind = type == "BitLocker" ? "bitlocker" : "luks", .uuid = uuid, .members = {device}});
    if (const auto opened = opened_.find(device); opened != opened_.end()) {
      encrypted.devices.push_back(opened->second);
      return;
    }
    const auto tried = tried_.find(device);
    const std::string names = device + (uuid.empty() ? "" : " or " + uuid);
    found.unopened.push_back({.device = device,
                              .type = type,
                              .uuid = uuid,
                              .reason = "encrypted",
                              .message = tried == tried_.end()
                                             ? "needs a key for " + names
                                             : "none of the keys that were tried opens it (" +
                                                   std::to_string(tried->second) + "); it needs one for " +
                                                   names});
  }

  struct fill {
    std::uint64_t size = 0;
    std::uint64_t used = 0;
  };

  Guest& g_;
  std::map<std::string, fill> usage_;  // by device
  std::optional<string_list> disks_, partitions_, arrays_, mapped_, volumes_;
  std::map<std::string, hashtable> facts_;
  std::map<std::string, std::string> opened_;  // the device on top, by the encrypted one
  std::map<std::string, int> tried_;           // keys, by the encrypted device
};

}  // namespace guestkit::detail
