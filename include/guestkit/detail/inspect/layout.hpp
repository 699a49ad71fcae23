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

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/inspect/blkid.hpp"
#include "guestkit/detail/inspect/borrowed.hpp"
#include "guestkit/detail/inspect/texts.hpp"
#include "guestkit/files.hpp"
#include "guestkit/generated/inspection.hpp"
#include "guestkit/inspect_options.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

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

/// A list for people.
template <class List>
std::string listed(const List& list) {
  std::string text;
  for (const auto& item : list) {
    if (!text.empty()) text += ", ";
    if constexpr (requires { item.first; })
      text += printable(item.first) + ' ' + printable(item.second);
    else
      text += printable(item);
  }
  return text.empty() ? "nothing" : text;
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

/// What the member of an array knows of it.
struct md_superblock {
  std::string name;
  std::string level;  ///< "raid1", …
  std::size_t devices = 0;
};

/// The beginning of a superblock of version 1; nothing if it is none.
inline std::optional<md_superblock> md_superblock_in(std::string_view bytes) {
  if (bytes.size() < 96) return std::nullopt;
  const auto number = [&](std::size_t at) {
    std::uint32_t value = 0;
    for (std::size_t i = 4; i-- > 0;) value = value << 8U | static_cast<unsigned char>(bytes[at + i]);
    return value;
  };
  if (number(0) != 0xa92b4efcU || number(4) != 1) return std::nullopt;
  const auto name = bytes.substr(32, 32);
  const auto level = static_cast<std::int32_t>(number(72));
  return md_superblock{std::string(name.substr(0, name.find('\0'))),
                       level == -1 ? "linear" : "raid" + std::to_string(level), number(92)};
}

/// The keys with the passphrases that their files hold. No call can say them afterwards.
template <class Guest>
std::vector<InspectKey> readable_keys(Guest& g, std::vector<InspectKey> keys) {
  for (auto& key : keys) {
    key.secret = passphrase_of(key);
    key.kind = InspectKey::Kind::passphrase;
    g.state()->console.hide(key.secret);
  }
  return keys;
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

  /// What blkid says of a device, as the disk has it; nothing if it does not know it.
  const hashtable& facts(const std::string& device) {
    const auto found = facts_.find(device);
    if (found != facts_.end()) return found->second;
    auto& facts = facts_[device];
    attempt([&] { facts = g_.blkid(device); });
    for (auto& fact : facts) {
      const auto& key = fact.first;
      auto& value = fact.second;
      if (key == "LABEL" && is_ambiguous(value) && !attempt([&] { value = g_.vfs_label(device); })) continue;
      value = key == "PART_ENTRY_NAME" ? partition_name(value) : without_backslashes(value);
    }
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

  /// Whether libguestfs may find volumes of Windows' Logical Disk Manager.
  bool has_dynamic_disk() {
    constexpr std::array types{"0x42", "5808c8aa-7e8f-42e0-85d2-e1e90434cfb3",
                               "af9b60a0-1431-4f62-bc68-3311714a69ad"};
    const auto& all = partitions();
    return std::any_of(all.begin(), all.end(), [&](const auto& partition) {
      return std::find(types.begin(), types.end(), fact(partition, "PART_ENTRY_TYPE")) != types.end();
    });
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

  /// Opens what the keys open: of readable_keys(). What they do not open is found again by describe().
  void unlock(const std::vector<InspectKey>& keys) {
    if (keys.empty()) return;
    string_list first;
    for (const auto& disk : disks())
      if (!is_partitioned(disk)) first.push_back(disk);
    for (const auto* list : {&partitions(), &arrays()}) first.insert(first.end(), list->begin(), list->end());
    if (!unlock_some(first, keys)) return unlock_volumes(keys);
    attempt([&] { g_.lvm_scan(true); });
    mapped_.reset();
    groups_.reset();
    volumes_.reset();
    unlock_volumes(keys);
  }

  const string_list& volumes() {
    return once(volumes_, [&] {
      if (!has_physical_volume()) return string_list();
      open_incomplete_groups();
      return g_.lvs();
    });
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

  /// What can be told without mounting anything.
  void describe(Inspection& found) {
    describe_partitions(found);
    describe_arrays(found);
    describe_volume_groups(found);
    for (const auto& device : candidates()) describe_content(device, found);
  }

  /// How full the filesystems are, and which cannot be mounted.
  void measure(Inspection& found) {
    for (std::size_t i = 0; i < found.filesystems.size(); ++i) {
      const auto [device, type, label, uuid, size, used] = found.filesystems[i];
      if (type == "swap" || type == "unknown") continue;
      if (!usage_.contains(device)) try_mount(device, type, uuid, found);
      if (const auto known = usage_.find(device); known != usage_.end()) {
        found.filesystems[i].size = known->second.size;
        found.filesystems[i].used = known->second.used;
      }
      if (type == "btrfs") i += add_subvolumes(i, found);
    }
    const auto order = candidates();
    const auto place = [&](const auto& shut) {
      return std::ranges::find(order, shut.device) - order.begin();
    };
    std::ranges::stable_sort(found.unopened, {}, place);
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
    return once(arrays_, [&] { return g_.list_md_devices(); });
  }
  /// Those that are no logical volumes: what was opened. libguestfs lists what a thin pool or a mirror
  /// consists of, too.
  const string_list& mapped() {
    return once(mapped_, [&] {
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
  const string_list& once(std::optional<string_list>& known, List&& list) {
    if (!known) {
      known.emplace();
      attempt([&] { *known = list(); });  // an appliance without LVM or MD
    }
    return *known;
  }

  /// LVM's volume groups; none where there is no physical volume.
  const std::vector<VG>& groups() {
    if (!groups_) {
      groups_.emplace();
      attempt([&] {
        if (has_physical_volume()) *groups_ = g_.vgs_full();
      });
    }
    return *groups_;
  }

  static bool is_incomplete(const VG& group) { return group.vg_attr.size() > 3 && group.vg_attr[3] == 'p'; }

  /// LVM does not open by itself what is whole in a volume group of which a part is missing.
  void open_incomplete_groups() {
    for (const auto& group : groups())
      if (is_incomplete(group)) attempt([&] { g_.vg_activate(true, string_list{group.vg_name}); });
  }

  /// What is missing of the volume group that holds the volume, for people; empty: nothing.
  std::string missing_of(const std::string& volume) {
    for (const auto& [group, message] : incomplete_)
      if (volume.starts_with("/dev/" + group + "/")) return message;
    return {};
  }

  static std::string counted(std::size_t count, const std::string& thing) {
    return std::to_string(count) + ' ' + thing + (count == 1 ? "" : "s");
  }
  static constexpr const char* all_disks = "; give all disks of the guest together";

  static std::string told_missing(const std::string& group, std::size_t all, const string_list& missing) {
    std::string uuids;
    constexpr std::size_t most = 8;
    for (std::size_t i = 0; i < std::min(most, missing.size()); ++i)
      uuids += (i == 0 ? "" : ", ") + missing[i];
    return "of the " + counted(all, "physical volume") + " of the volume group " + group + ", " +
           std::to_string(missing.size()) + (missing.size() == 1 ? " is" : " are") + " missing (" + uuids +
           (missing.size() > most ? ", ..." : "") + ")" + all_disks;
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
        if (attempt([&] { g_.cryptsetup_open(device, key.secret, name); })) continue;
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
      for (const auto& vg : groups()) {
        auto& group = layer(found, "lvm", vg.vg_uuid);
        group.name = vg.vg_name;
        string_list missing;
        const auto all = g_.vgpvuuids(vg.vg_name);
        for (const auto& uuid : all)
          if (const auto pv = members.find(bare_uuid(uuid)); pv != members.end())
            group.members.push_back(pv->second);
          else
            missing.push_back(uuid);
        if (is_incomplete(vg) && !missing.empty())
          incomplete_[vg.vg_name] = told_missing(vg.vg_name, all.size(), missing);
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
    if (!type.empty() || holds_no_filesystem(device)) return;
    const auto missing = missing_of(device);
    found.unopened.push_back({.device = device,
                              .type = "unknown",
                              .reason = missing.empty() ? "unknown" : "damaged",
                              .message = missing.empty() ? "no filesystem that blkid knows" : missing});
  }

  /// Partitions that firmware and boot loaders use as they are: nobody expects a filesystem there.
  bool holds_no_filesystem(const std::string& partition) {
    constexpr std::array types{"21686148-6449-6e6f-744e-656564454649",   // BIOS boot
                               "9e1a2d38-c612-4316-aa26-8b49521e5a8b",   // PReP boot
                               "0x41",                                   // the same
                               "8da63339-0007-60c0-c436-083ac8230908",   // reserved by Linux
                               "c95dc21a-df0e-4340-8d7b-26cbfa9a03e0",   // reserved by CoreOS
                               "fe3a2a5d-4f32-41a7-b725-accc3285a309",   // a kernel of ChromeOS
                               "2e0a753d-9e48-43b0-8337-b15192cb1b5e"};  // reserved by ChromeOS
    const auto type = fact(partition, "PART_ENTRY_TYPE");
    return std::find(types.begin(), types.end(), type) != types.end();
  }

  /// The array that a member says it belongs to, and that cannot be assembled.
  std::string told_array(const std::string& member) {
    const auto version = fact(member, "VERSION");
    std::optional<md_superblock> block;
    if (version == "1.1" || version == "1.2")
      attempt([&] {
        const buffer bytes = g_.pread_device(member, 128, version == "1.1" ? 0 : 4096);
        block = md_superblock_in(bytes.view());
      });
    if (!block) return "an array that cannot be assembled";
    std::size_t here = 0;
    const auto uuid = bare_uuid(fact(member, "UUID"));
    for (const auto& device : physical())
      if (fact(device, "TYPE") == "linux_raid_member" && bare_uuid(fact(device, "UUID")) == uuid) ++here;
    return "the array " + excerpt(block->name) + " (" + block->level + ") that cannot be assembled: of its " +
           counted(block->devices, "device") + ", " + std::to_string(here) + (here == 1 ? " is" : " are") +
           " here";
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
      if (array.devices.empty()) shut("damaged", "a member of " + told_array(device) + all_disks);
    } else if (type == "LVM2_member") {
      if (std::none_of(found.layers.begin(), found.layers.end(), [&](const auto& group) {
            return std::find(group.members.begin(), group.members.end(), device) != group.members.end();
          }))
        shut("damaged", "a physical volume without a volume group");
    } else {
      shut("unknown", "libguestfs does not open a " + type);
    }
  }

  /// Behind the filesystem that they are in; returns how many.
  std::size_t add_subvolumes(std::size_t whole, Inspection& found) {
    std::vector<InspectedFilesystem> volumes;
    attempt([&] {
      for (const auto& volume : g_.btrfs_subvolume_list(found.filesystems[whole].device)) {
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
  std::optional<std::vector<VG>> groups_;
  std::map<std::string, std::string> incomplete_;  // what is missing, by volume group
  std::map<std::string, hashtable> facts_;
  std::map<std::string, std::string> opened_;  // the device on top, by the encrypted one
  std::map<std::string, int> tried_;           // keys, by the encrypted device
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail
