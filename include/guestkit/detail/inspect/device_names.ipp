#pragma once

#include <algorithm>
#include <array>
#include <utility>

#include "guestkit/detail/base/error_of.hpp"
#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/base/text.hpp"
#include "guestkit/detail/inspect/device_names.hpp"
#include "guestkit/detail/inspect/report.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE std::string mapper_name(std::string_view volume) {
  const auto rest = volume.substr(std::min<std::size_t>(volume.size(), 5));  // /dev/
  auto name = with_double_dashes(rest);
  std::ranges::replace(name, '/', '-');
  return "/dev/mapper/" + name;
}

GUESTKIT_INLINE std::optional<bus_name> bus_name_of(std::string_view name) {
  constexpr std::size_t longest = 4;  // digits, or letters
  const auto take = [&](auto&& is_part) {
    std::size_t end = 0;
    while (end < name.size() && is_part(name[end])) ++end;
    const auto part = name.substr(0, end);
    name.remove_prefix(end);
    return part;
  };
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  const auto whole = name;
  const auto made = [&](std::string_view bus, std::size_t index, bool letter_before_partition) {
    std::optional<bus_name> found;
    const auto disk = whole.substr(0, whole.size() - name.size());
    if (letter_before_partition && !name.empty()) {
      if (name.front() != 'p' || name.size() == 1) return found;
      name.remove_prefix(1);
    }
    if (name.size() <= longest && std::all_of(name.begin(), name.end(), digit))
      found = {std::string(bus), std::string(disk), index, std::string(name)};
    return found;
  };
  for (const std::string_view bus : {"hd", "sd", "vd", "xvd"}) {
    const auto prefix = "/dev/" + std::string(bus);
    if (!name.starts_with(prefix)) continue;
    name.remove_prefix(prefix.size());
    const auto letters = take([](char c) { return c >= 'a' && c <= 'z'; });
    if (letters.empty() || letters.size() > longest) return std::nullopt;
    std::size_t index = 0;
    for (const char c : letters) index = 26 * index + static_cast<std::size_t>(c - 'a') + 1;
    return made(bus, index - 1, false);
  }
  for (const std::string_view bus : {"nvme", "mmcblk"}) {
    const auto prefix = "/dev/" + std::string(bus);
    if (!name.starts_with(prefix)) continue;
    name.remove_prefix(prefix.size());
    const auto digits = take(digit);
    const auto index = digits.size() > longest ? std::nullopt : number_of(digits);
    if (!index) return std::nullopt;
    if (bus == "nvme") {
      if (!name.starts_with("n1") || (name.size() > 2 && digit(name[2]))) return std::nullopt;
      name.remove_prefix(2);
    }
    return made(bus, static_cast<std::size_t>(*index), true);
  }
  return std::nullopt;
}

GUESTKIT_INLINE std::string scheme_of(const std::string& name) {
  if (auto known = bus_name_of(name)) return std::move(known->bus);
  const std::string_view part = "-part", by_id = "/dev/disk/by-id/";
  const bool is_volume = name.starts_with(by_id) && (name.compare(by_id.size(), 3, "dm-") == 0 ||
                                                     name.compare(by_id.size(), 3, "md-") == 0);
  const bool is_link = name.starts_with(by_id) || name.starts_with("/dev/disk/by-path/");
  const auto end = name.rfind(part);
  if (!is_link || is_volume || end == std::string::npos) return {};
  const auto number = std::string_view(name).substr(end + part.size());
  const bool is_number = !number.empty() && number.find_first_not_of("0123456789") == std::string_view::npos;
  return is_number ? name.substr(0, end) : std::string();
}

GUESTKIT_INLINE std::string without_hex_escapes(std::string_view text) {
  const auto value = [](char c) -> int {
    if (c >= '0' && c <= '9') return c - '0';
    const char lower = lower_case(c);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
  };
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool escape = text.substr(i).starts_with("\\x") && i + 3 < text.size() && value(text[i + 2]) >= 0 &&
                        value(text[i + 3]) >= 0;
    plain += escape ? static_cast<char>(16 * value(text[i + 2]) + value(text[i + 3])) : text[i];
    if (escape) i += 3;
  }
  return plain;
}

/// Whether it follows "-part" in udev's links.
inline bool is_partition_number(const std::string& text) {
  return !text.empty() && text.size() <= 4 && number_of(text);
}

inline bool names_array(std::string_view spec) {
  return spec.starts_with("/dev/md") || spec.starts_with("/dev/disk/by-id/md-");
}

GUESTKIT_INLINE device_names::device_names(guest_actions& g, layout& layout, std::string root)
    : g_(g), layout_(layout), root_(std::move(root)) {}

GUESTKIT_INLINE void device_names::read_crypttab(std::string_view text) {
  crypttab_ = crypttab_of(text);
  for (const auto& [name, beneath] : crypttab_)
    if (names_array(beneath)) arrays_.insert(beneath);
}

GUESTKIT_INLINE void device_names::learn(const std::string& spec, bool is_root) {
  if (names_array(spec)) arrays_.insert(spec);
  if (auto scheme = scheme_of(spec); !scheme.empty()) schemes_.insert(std::move(scheme));
  if (!is_root) return;
  if (root_name_.empty()) root_name_ = spec;
  const auto name = bus_name_of(spec);
  if (!name || name->partition.empty()) return;
  const auto disk = layout_.disk_of(root_);
  if (disk.empty() || root_ != disk + name->partition) return;
  if (name->index < layout_.disks().size() && layout_.disks()[name->index] == disk) return;
  known_disks_[name->disk] = disk;
}

GUESTKIT_INLINE named_device device_names::find(const std::string& spec) {
  constexpr std::array<std::array<std::string_view, 3>, 4> tags{
      {{"UUID=", "/dev/disk/by-uuid/", "UUID"},
       {"LABEL=", "/dev/disk/by-label/", "LABEL"},
       {"PARTUUID=", "/dev/disk/by-partuuid/", "PART_ENTRY_UUID"},
       {"PARTLABEL=", "/dev/disk/by-partlabel/", "PART_ENTRY_NAME"}}};
  for (const auto& [tag, link, fact] : tags) {
    if (spec.starts_with(tag)) {
      const auto value = spec.substr(tag.size());  // as libblkid reads it: a backslash is one
      return tagged(fact, is_quoted(value) ? value.substr(1, value.size() - 2) : value);
    }
    if (spec.starts_with(link)) return tagged(fact, without_hex_escapes(spec.substr(link.size())));
  }
  if (spec.starts_with("ID=")) return {.why = "guestkit does not know which disk that is"};
  if (!spec.starts_with("/dev/")) return {};
  if (spec == "/dev/root" && !root_.empty()) return {.devices = {root_}};
  return by_path(spec);
}

GUESTKIT_INLINE named_device device_names::tagged(std::string_view fact, const std::string& value) {
  const auto folded = [&](std::string text) {
    return fact.ends_with("UUID") ? in_lower_case(std::move(text)) : text;
  };
  named_device found;
  std::set<std::string> filesystems;  // the UUIDs of btrfs; empty for any other
  const bool of_partition = fact.starts_with("PART_");
  const std::string key(fact), wanted = folded(value);
  for (const auto& device : of_partition ? layout_.partitions() : layout_.candidates()) {
    if (wanted.empty() || folded(layout_.fact(device, key.c_str())) != wanted) continue;
    const auto type = layout_.fact(device, "TYPE");
    if (!of_partition && type.ends_with("_member")) continue;
    found.devices.push_back(device);
    filesystems.insert(type == "btrfs" ? layout_.fact(device, "UUID") : std::string());
  }
  if (found.devices.empty()) found.why = "no filesystem on the disks has it";
  if (filesystems.size() == 1 && !filesystems.contains({})) {  // one btrfs, maybe on several devices
    const auto root = std::ranges::find_if(found.devices, [&](const auto& one) { return is_on(root_, one); });
    found.devices = {root == found.devices.end() ? found.devices.front() : *root};
  }
  if (found.devices.size() > 1) found.why = "several filesystems have it: " + listed(found.devices);
  return found;
}

GUESTKIT_INLINE named_device device_names::by_path(const std::string& spec) {
  constexpr std::string_view dm_name = "/dev/disk/by-id/dm-name-", dm_uuid = "/dev/disk/by-id/dm-uuid-LVM-";
  if (spec.starts_with(dm_name))
    return by_path("/dev/mapper/" + without_hex_escapes(spec.substr(dm_name.size())));
  if (spec.starts_with(dm_uuid)) return volume_with(spec.substr(dm_uuid.size()));
  constexpr std::string_view md_name = "/dev/disk/by-id/md-name-", md_uuid = "/dev/disk/by-id/md-uuid-";
  if (spec.starts_with(md_name)) return array("/dev/md/" + without_hex_escapes(spec.substr(md_name.size())));
  if (spec.starts_with(md_uuid)) return array_with(spec.substr(md_uuid.size()));
  for (const auto& volume : layout_.volumes())
    if (spec == volume || spec == mapper_name(volume)) return {.devices = {volume}};
  if (spec.starts_with("/dev/mapper/")) return opened(spec);
  if (spec.starts_with("/dev/md")) return array(spec);
  if (const auto name = bus_name_of(spec)) return on_bus(*name);
  for (const std::string_view folder : {"/dev/disk/by-id/", "/dev/disk/by-path/"})
    if (spec.starts_with(folder)) return on_only_disk(spec);
  return {.why = "no such device is on the disks"};
}

GUESTKIT_INLINE named_device device_names::volume_with(const std::string& uuids) {
  constexpr std::size_t length = 32;
  if (uuids.size() == 2 * length)
    for (const auto& volume : layout_.volumes()) {
      std::string both;
      if (error_of([&] { both = g_.lvuuid(volume); })) continue;
      std::erase(both, '-');
      if (both == uuids.substr(length)) return {.devices = {volume}};
    }
  return {.why = "no logical volume on the disks has it"};
}

GUESTKIT_INLINE named_device device_names::opened(const std::string& spec) {
  const auto& all = layout_.opened();
  for (const auto& [beneath, device] : all)
    if (device == spec) return {.devices = {device}};
  const auto known = crypttab_.find(spec.substr(spec.rfind('/') + 1));
  if (known == crypttab_.end()) return {.why = "no such device is on the disks"};
  const bool again = std::exchange(in_crypttab_, true);  // a hostile crypttab may define a name by itself
  const auto beneath = again ? named_device{} : find(known->second);
  in_crypttab_ = again;
  if (!beneath.is_known())
    return {.why = "/etc/crypttab has it on " + excerpt(known->second) + ", which was not found"};
  const auto device = all.find(beneath.devices.front());
  if (device == all.end()) return {.why = "it is in " + beneath.devices.front() + ", which was not opened"};
  return {.devices = {device->second}};
}

GUESTKIT_INLINE named_device device_names::array(const std::string& spec) {
  string_list all, named;
  for (const auto& device : layout_.candidates())
    if (device.starts_with("/dev/md")) all.push_back(device);
  if (all.empty()) return {.why = "there is no array on the disks"};
  // The array that holds the root answers only to the name that fstab has for /. Another one answers to any
  // name, if the guest names no second array.
  const bool is_only =
      all.size() == 1 && (is_on(root_, all.front()) ? spec == root_name_ : arrays_.size() < 2);
  if (is_only) return {.devices = all};
  auto name = spec.substr(std::string_view("/dev/md").size());
  if (name.starts_with('/')) name.erase(0, 1);
  for (const auto& device : all) {
    hashtable detail;
    error_of([&] { detail = g_.md_detail(device); });
    const auto its = detail["name"];  // or host:name
    if (its == name || its.substr(its.find(':') + 1) == name) named.push_back(device);
  }
  if (named.size() == 1) return {.devices = named};
  if (all.size() == 1) return {.why = "of several arrays, only " + listed(all) + " is on the disks"};
  return {.devices = all, .why = "it may be any of " + listed(all)};
}

GUESTKIT_INLINE named_device device_names::array_with(const std::string& name) {
  constexpr std::string_view part = "-part";
  const auto end = name.rfind(part);
  const auto uuid = bare_uuid(name.substr(0, end));
  if (uuid.empty()) return {.why = "it names no array"};
  const auto number = end == std::string::npos ? std::string() : name.substr(end + part.size());
  if (end != std::string::npos && !is_partition_number(number)) return {.why = "it names no partition"};
  string_list untold;
  for (const auto& device : layout_.arrays()) {
    hashtable detail;
    error_of([&] { detail = g_.md_detail(device); });
    const auto its = bare_uuid(detail["uuid"]);
    if (its.empty()) untold.push_back(device);
    if (its == uuid) return partition(device, number.empty() ? number : 'p' + number);
  }
  if (!untold.empty()) return {.why = "mdadm tells no UUID of " + listed(untold) + ", which may have it"};
  return {.why = "no array on the disks has it"};
}

GUESTKIT_INLINE named_device device_names::on_bus(const bus_name& name) {
  const auto& disks = layout_.disks();
  if (const auto known = known_disks_.find(name.disk); known != known_disks_.end())
    return partition(known->second, name.partition);
  if (!known_disks_.empty()) return {.why = "the disks were given in another order than the guest's"};
  const auto is_bus = [](const auto& scheme) { return !scheme.starts_with('/'); };
  if (disks.size() > 1 && std::ranges::count_if(schemes_, is_bus) > 1)
    return {.why = "fstab has names of several buses, so that it may be any disk"};
  if (disks.size() == 1)
    if (auto why = other_disk(name.bus); !why.empty()) return {.why = std::move(why)};
  if (name.index >= disks.size())
    return {.why = "it is the guest's disk " + std::to_string(name.index + 1) + ", and " +
                   std::to_string(disks.size()) + (disks.size() == 1 ? " was" : " were") + " given"};
  return partition(disks[name.index], name.partition);
}

GUESTKIT_INLINE named_device device_names::on_only_disk(const std::string& spec) {
  const auto at = spec.rfind("-part");
  const auto number = at == std::string::npos ? std::string() : spec.substr(at + 5);
  if (layout_.disks().size() != 1) return {.why = "it may be on any disk"};
  if (!is_partition_number(number)) return {.why = "it names no partition"};
  if (auto why = other_disk(scheme_of(spec)); !why.empty()) return {.why = std::move(why)};
  return partition(layout_.disks().front(), number);
}

GUESTKIT_INLINE std::string device_names::other_disk(const std::string& scheme) const {
  if (schemes_.size() < 2 || scheme == scheme_of(root_name_)) return {};
  return "fstab has names of several disks, so that it may be another than the one that was given";
}

GUESTKIT_INLINE named_device device_names::partition(const std::string& disk, const std::string& number) {
  const auto device = disk + number;
  const auto& all = layout_.partitions();
  if (number.empty() ? !layout_.is_partitioned(disk) : std::find(all.begin(), all.end(), device) != all.end())
    return {.devices = {device}};
  return {.why = disk + (number.empty() ? " has partitions" : " has no partition " + number)};
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
