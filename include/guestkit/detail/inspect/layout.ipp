#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "guestkit/detail/base/error_of.hpp"
#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/base/text.hpp"
#include "guestkit/detail/inspect/blkid.hpp"
#include "guestkit/detail/inspect/layout.hpp"
#include "guestkit/detail/inspect/report.hpp"
#include "guestkit/detail/state/handle_state.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE std::string bare_uuid(std::string_view uuid) {
  std::string bare(uuid);
  std::erase_if(bare, [](char c) { return c == '-' || c == ':'; });
  const bool is_hexadecimal = bare.find_first_not_of("0123456789abcdefABCDEF") == std::string::npos;
  return is_hexadecimal ? in_lower_case(std::move(bare)) : bare;
}

GUESTKIT_INLINE bool is_on(const std::string& filesystem, const std::string& device) {
  return filesystem == device || filesystem.starts_with("btrfsvol:" + device + "/");
}

GUESTKIT_INLINE layout::layout(guest_actions& g, bool is_new)
    : g_(g), is_new_(is_new), opened_(g.state()->machine.opened) {
  if (opened_.empty()) return;
  string_list there;  // the user may have closed some since
  error_of([&] { there = g_.list_dm_devices(); });
  std::erase_if(opened_,
                [&](const auto& one) { return std::ranges::find(there, one.second) == there.end(); });
}

GUESTKIT_INLINE const string_list& layout::disks() {
  if (!disks_) disks_ = g_.list_devices();
  return *disks_;
}

GUESTKIT_INLINE const string_list& layout::partitions() {
  if (!partitions_) partitions_ = g_.list_partitions();
  return *partitions_;
}

GUESTKIT_INLINE const hashtable& layout::facts(const std::string& device) {
  const auto found = facts_.find(device);
  if (found != facts_.end()) return found->second;
  hashtable facts;
  error_of([&] { facts = g_.blkid(device); });
  for (auto& fact : facts) {
    const auto& key = fact.first;
    auto& value = fact.second;
    if (key == "LABEL" && is_ambiguous(value) && !error_of([&] { value = g_.vfs_label(device); })) continue;
    value = key == "PART_ENTRY_NAME" ? partition_name(value) : without_backslashes(value);
  }
  return facts_.emplace(device, std::move(facts)).first->second;
}

GUESTKIT_INLINE std::string layout::fact(const std::string& device, const char* key) {
  const auto& all = facts(device);
  const auto found = all.find(key);
  return found == all.end() ? std::string() : found->second;
}

GUESTKIT_INLINE bool layout::is_partitioned(const std::string& disk) {
  if (!partitioned_) {
    std::set<std::string> all;
    for (const auto& partition : partitions()) all.insert(disk_of(partition));
    partitioned_ = std::move(all);
  }
  return partitioned_->contains(disk);
}

GUESTKIT_INLINE bool layout::has_dynamic_disk() {
  constexpr std::array types{"0x42", "5808c8aa-7e8f-42e0-85d2-e1e90434cfb3",
                             "af9b60a0-1431-4f62-bc68-3311714a69ad"};
  const auto& all = partitions();
  return std::any_of(all.begin(), all.end(), [&](const auto& partition) {
    return std::find(types.begin(), types.end(), fact(partition, "PART_ENTRY_TYPE")) != types.end();
  });
}

GUESTKIT_INLINE bool layout::holds_no_filesystem(const std::string& partition) {
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

GUESTKIT_INLINE bool layout::is_container(const std::string& device) {
  const auto type = fact(device, "TYPE"), usage = fact(device, "USAGE");
  if (type == "swap" || type == "swsuspend") return false;  // of the usage "other", too
  return type.ends_with("_member") || type == "crypto_LUKS" || type == "BitLocker" || usage == "crypto" ||
         usage == "raid" || usage == "other";
}

GUESTKIT_INLINE std::string layout::disk_of(const std::string& partition) {
  const auto known = disk_of_.find(partition);
  if (known != disk_of_.end()) return known->second;
  std::string longest;
  for (const auto* list : {&disks(), &arrays()})
    for (const auto& disk : *list)
      if (partition.starts_with(disk) && disk.size() > longest.size()) longest = disk;
  return disk_of_.emplace(partition, std::move(longest)).first->second;
}

GUESTKIT_INLINE string_list layout::candidates() {
  auto all = physical();
  all.insert(all.end(), volumes().begin(), volumes().end());
  return all;
}

GUESTKIT_INLINE const std::vector<BTRFSSubvolume>& layout::subvolumes(const std::string& device,
                                                                      const std::string& where) {
  const auto known = subvolumes_.find(device);
  if (known != subvolumes_.end()) return known->second;
  return subvolumes_.emplace(device, g_.btrfs_subvolume_list(where)).first->second;
}

GUESTKIT_INLINE std::int64_t layout::default_subvolume(const std::string& device, const std::string& where) {
  const auto known = default_subvolume_.find(device);
  if (known != default_subvolume_.end()) return known->second;
  return default_subvolume_.emplace(device, g_.btrfs_subvolume_get_default(where)).first->second;
}

GUESTKIT_INLINE void layout::unlock(const std::vector<InspectKey>& keys) {
  if (keys.empty()) return;
  string_list first;
  for (const auto& disk : disks())
    if (!is_partitioned(disk)) first.push_back(disk);
  for (const auto* list : {&partitions(), &arrays()}) first.insert(first.end(), list->begin(), list->end());
  if (unlock_some(first, keys)) {
    groups_.reset();
    volumes_.reset();
    error_of([&] { g_.lvm_scan(true); });
  }
  unlock_some(volumes(), keys);
}

GUESTKIT_INLINE const string_list& layout::volumes() {
  return once(volumes_, [&] {
    if (physical_volumes().empty()) return string_list();
    string_list all;
    for (const auto& group : groups())
      for (const auto& volume : group.volumes) all.push_back("/dev/" + group.name + '/' + volume.name);
    std::ranges::sort(all);  // by the whole names, as libguestfs does
    if (are_read_) return all;
    open_incomplete_groups();
    return g_.lvs();
  });
}

GUESTKIT_INLINE void layout::measure_mounted(const std::string& device, const std::string& mountpoint) {
  const auto status = g_.statvfs(mountpoint);
  if (status.blocks <= 0) return;
  const auto unit = static_cast<std::uint64_t>(status.frsize);
  const auto blocks = static_cast<std::uint64_t>(status.blocks);
  const auto free = static_cast<std::uint64_t>(status.bfree);  // more than there are, if the disk lies
  usage_[device] = {unit * blocks, unit * (blocks - std::min(blocks, free))};
}

GUESTKIT_INLINE const string_list& layout::physical() {
  if (physical_) return *physical_;
  string_list all;
  for (const auto& disk : disks())
    if (!is_partitioned(disk)) all.push_back(disk);
  for (const auto& partition : partitions())
    if (!is_no_container(partition)) all.push_back(partition);
  for (const auto& array : arrays())
    if (!is_partitioned(array)) all.push_back(array);
  all.insert(all.end(), mapped().begin(), mapped().end());
  return physical_.emplace(std::move(all));
}

GUESTKIT_INLINE string_list layout::physical_volumes() {
  auto all = physical();
  for (const auto& partition : partitions())  // LVM looks at all of them
    if (is_no_container(partition)) all.push_back(partition);
  std::erase_if(all, [&](const auto& device) { return fact(device, "TYPE") != "LVM2_member"; });
  return all;
}

GUESTKIT_INLINE bool layout::is_no_container(const std::string& partition) {
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

GUESTKIT_INLINE const string_list& layout::arrays() {
  return once(arrays_, [&] { return g_.list_md_devices(); });
}

GUESTKIT_INLINE const string_list& layout::mapped() {
  return once(mapped_, [&] {
    string_list all;
    if (is_new_ && !has_dynamic_disk()) {
      for (const auto& [beneath, device] : opened_) all.push_back(device);
      return all;
    }
    all = g_.list_dm_devices();
    string_list groups;
    if (!all.empty()) error_of([&] { groups = g_.vgs(); });
    std::erase_if(all, [&](const auto& device) {
      return std::none_of(opened_.begin(), opened_.end(),
                          [&](const auto& o) { return o.second == device; }) &&
             std::any_of(groups.begin(), groups.end(),
                         [&](const auto& group) { return device.starts_with(mapper_prefix(group)); });
    });
    return all;
  });
}

GUESTKIT_INLINE std::string layout::mapper_prefix(const std::string& group) {
  return "/dev/mapper/" + with_double_dashes(group) + "-";
}

GUESTKIT_INLINE const string_list& layout::once(std::optional<string_list>& known,
                                                const std::function<string_list()>& list) {
  if (known) return *known;
  string_list all;
  const auto error = error_of([&] { all = list(); });
  // An appliance may lack LVM.
  if (error && error->error_number() != ENOTSUP) is_uncertain_ = true;
  return known.emplace(std::move(all));
}

GUESTKIT_INLINE const std::vector<volume_group>& layout::groups() {
  if (groups_) return *groups_;
  std::optional<std::vector<volume_group>> all;
  are_read_ = false;
  error_of([&] {
    std::vector<device_reader> readers;
    for (const auto& device : physical_volumes())
      readers.emplace_back([this, device](std::uint64_t at, std::size_t size) {
        const auto bytes = g_.pread_device(device, static_cast<int>(size), static_cast<std::int64_t>(at));
        return std::string(bytes.view());
      });
    all = read_volume_groups(readers);
    are_read_ = all.has_value();
  });
  if (!are_read_) error_of([&] { all = asked_groups(); });
  return groups_.emplace(std::move(all).value_or(std::vector<volume_group>()));
}

GUESTKIT_INLINE std::vector<volume_group> layout::asked_groups() {
  std::vector<volume_group> all;
  for (const auto& group : g_.vgs_full()) {
    all.push_back({.name = group.vg_name,
                   .uuid = group.vg_uuid,
                   .is_incomplete = group.vg_attr.size() > 3 && group.vg_attr[3] == 'p'});
    for (const auto& uuid : g_.vgpvuuids(group.vg_name)) all.back().members.push_back({.uuid = uuid});
  }
  return all;
}

GUESTKIT_INLINE void layout::open_incomplete_groups() {
  for (const auto& group : groups())
    if (group.is_incomplete) error_of([&] { g_.vg_activate(true, string_list{group.name}); });
}

GUESTKIT_INLINE bool layout::unlock_some(const string_list& devices, const std::vector<InspectKey>& keys) {
  bool opened = false;
  for (const auto& device : devices) {
    const auto type = fact(device, "TYPE");
    if (type != "crypto_LUKS" && type != "BitLocker") continue;
    const auto uuid = fact(device, "UUID");
    const auto name = mapped_name(type, uuid, device);
    for (const auto& key : keys) {
      if (opened_.contains(device)) break;
      if (!key.device.empty() && key.device != device && bare_uuid(key.device) != bare_uuid(uuid)) continue;
      auto& trials = trials_[device];
      ++trials.keys;
      if (const auto error = error_of([&] { g_.cryptsetup_open(device, key.secret, name); })) {
        // libguestfs hands on cryptsetup's words, and nothing else that tells this from a wrong key.
        if (error->message().find("Not enough available memory") != std::string::npos)
          trials.short_of_memory = true;
        continue;
      }
      opened_[device] = "/dev/mapper/" + name;
      opened = true;
      mapped_.reset();
      physical_.reset();
    }
  }
  return opened;
}

GUESTKIT_INLINE std::string layout::mapped_name(const std::string& type, const std::string& uuid,
                                                const std::string& device) const {
  std::string name = "luks-" + uuid;
  if (type != "crypto_LUKS" || uuid.empty()) {
    name = "crypt";
    for (const char c : device.substr(device.find('/', 1) + 1))
      if (is_ascii_alnum(c)) name += c;
  }
  auto numbered = name;
  for (int number = 2;
       std::ranges::any_of(opened_, [&](const auto& one) { return one.second == "/dev/mapper/" + numbered; });
       ++number)
    numbered = name + '-' + std::to_string(number);
  return numbered;
}

GUESTKIT_INLINE layout::key_trials layout::trials(const std::string& device) const {
  const auto found = trials_.find(device);
  return found == trials_.end() ? key_trials() : found->second;
}

GUESTKIT_INLINE std::optional<layout::fill> layout::usage(const std::string& device) const {
  const auto known = usage_.find(device);
  if (known == usage_.end()) return std::nullopt;
  return known->second;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
