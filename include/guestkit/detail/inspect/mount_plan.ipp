#pragma once

#include <algorithm>
#include <array>

#include "guestkit/detail/base/error_of.hpp"
#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/base/text.hpp"
#include "guestkit/detail/files/reading.hpp"
#include "guestkit/detail/inspect/device_names.hpp"
#include "guestkit/detail/inspect/fstab.hpp"
#include "guestkit/detail/inspect/mount_plan.hpp"
#include "guestkit/detail/inspect/report.hpp"
#include "guestkit/detail/inspect/rules.hpp"
#include "guestkit/error.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE mountpoint_list in_mount_order(mountpoint_list mountpoints) {
  std::ranges::stable_sort(mountpoints, {}, [](const auto& place) { return place.first.size(); });
  return mountpoints;
}

GUESTKIT_INLINE std::string known_volume(layout& layout, std::string volume) {
  const std::string prefix = "btrfsvol:";
  if (!volume.starts_with(prefix)) return volume;
  for (auto at = volume.find("//"); at != std::string::npos && at + 2 < volume.size(); at = volume.find("//"))
    volume.erase(at, 1);  // but not of the top level, btrfsvol:/dev/sda2//
  const auto devices = layout.candidates();
  if (std::any_of(devices.begin(), devices.end(),
                  [&](const auto& known) { return volume.starts_with(prefix + known + '/'); }))
    return volume;
  const auto end = volume.find('/', prefix.size() + std::string_view("/dev/").size());
  if (end == std::string::npos) return volume;
  const auto uuid = layout.fact(volume.substr(prefix.size(), end - prefix.size()), "UUID");
  for (const auto& known : devices)
    if (!uuid.empty() && layout.fact(known, "UUID") == uuid) return prefix + known + volume.substr(end);
  return volume;
}

GUESTKIT_INLINE std::optional<std::string> beginning_of(guest_actions& g, const std::string& path,
                                                        std::size_t limit) {
  std::int64_t mode = 0, size = 0;
  if (error_of([&] {
        const auto status = g.statns(path);
        mode = status.st_mode;
        size = status.st_size;
      }))
    return std::nullopt;
  if (kind_of(mode) != FileKind::regular)
    throw Error("read_small", shown(path) + ": not a regular file", EINVAL);
  std::string text;
  while (text.size() < limit && static_cast<std::int64_t>(text.size()) < size) {
    const auto part = read_part(g, path, text.size(), limit - text.size());
    if (part.empty()) break;
    text += part.view();
  }
  return text;
}

/// Whether filesystems of that type are on disks, so that the line should name one.
inline bool is_of_disk(std::string_view type) {
  constexpr std::array<std::string_view, 17> types{"btrfs",    "exfat",   "ext2", "ext3",  "ext4", "f2fs",
                                                   "hfsplus",  "iso9660", "jfs",  "msdos", "ntfs", "ntfs3",
                                                   "reiserfs", "udf",     "ufs",  "vfat",  "xfs"};
  return std::find(types.begin(), types.end(), type) != types.end();
}

/// Decides what is mounted where: the given root at /, whatever fstab says, and the rest according to fstab.
class mount_planner {
 public:
  mount_planner(guest_actions& g, layout& layout, std::string root)
      : g_(g), layout_(layout), root_(known_volume(layout, std::move(root))), names_(g, layout, root_) {}

  /// Requires the root to be mounted at /, and nothing else.
  mount_plan run() {
    plan_.mountpoints.emplace_back("/", root_);
    const auto read = read_fstab();
    for (const auto& entry : read.entries)
      if (!is_ignored(entry)) names_.learn(entry.spec, plain_path(entry.file) == "/");
    for (const auto& entry : read.entries) add(entry);
    if (unmounted_.add_rest("/etc/fstab: ", " more lines name what is not mounted"))
      correct(plan_.failures.back().message);
    auto& all = plan_.filesystems;
    std::reverse(all.begin(), all.end());
    const bool any = !all.empty();
    if (std::find(all.begin(), all.end(), root_) == all.end()) all.push_back(root_);
    if (any && !rooted_) correct("fstab has no line for the root that was found");
    if (names_.are_reordered()) correct("the disks were given in another order than the guest's");
    plan_.mountpoints = in_mount_order(std::move(plan_.mountpoints));
    return std::move(plan_);
  }

 private:
  fstab_lines read_fstab() {
    fstab_lines read;
    const auto error = error_of([&] {
      if (const auto text = beginning_of(g_, "/etc/crypttab", most_fstab_bytes)) names_.read_crypttab(*text);
    });
    if (error) plan_.failures.push_back(failure("mountpoints", *error));
    if (const auto unread = error_of([&] {
          if (const auto text = beginning_of(g_, "/etc/fstab", most_fstab_bytes + 1))
            read = fstab_of(std::string_view(*text).substr(0, most_fstab_bytes),
                            text->size() <= most_fstab_bytes);
        }))
      plan_.failures.push_back(failure("mountpoints", *unread));
    plan_.failures.insert(plan_.failures.end(), read.failures.begin(), read.failures.end());
    if (read.breaks_augeas) correct("fstab has lines that libguestfs may not read");
    return read;
  }

  void correct(const std::string& why) { plan_.corrections.push_back("mountpoints: " + why); }

  /// @param is_theirs  whether the installed libguestfs leaves the line out, too
  void tell(const fstab_entry& entry, const std::string& why, bool is_theirs = false) {
    if (unmounted_.add(line_failure(entry.line, why)) && !is_theirs) correct(plan_.failures.back().message);
  }

  void add(const fstab_entry& written) {
    auto entry = written;
    const auto file = plain_path(entry.file);
    if (file) entry.file = *file;
    if (is_ignored(entry)) return;
    const auto found = names_.find(entry.spec);
    if (entry.file == "/") return add_root(entry, found);
    if (found.devices.empty() && found.why.empty()) {
      if (is_of_disk(entry.type))
        tell(entry, excerpt(entry.spec) + " is not mounted on " + excerpt(entry.file) + ": " +
                        (entry.spec.starts_with('/') ? "files of the guest are not opened as disks"
                                                     : "it is the name of no device"));
      return;  // tmpfs, a network filesystem, a bind mount, …
    }
    if (entry.file.starts_with('/')) plan_.named.insert(entry.file);
    const auto mounted_on = excerpt(entry.spec) + " is not mounted on " + excerpt(entry.file) + ": ";
    if (!found.is_known()) {
      if (entry.file.starts_with('/')) tell(entry, mounted_on + found.why);
      return;
    }
    const auto device = volume_of(found.devices.front(), entry);
    if (!device) return tell(entry, mounted_on + "no subvolume on it has the number that the options say");
    plan_.filesystems.push_back(*device);
    if (!entry.file.starts_with('/')) return;  // swap, or none
    if (!file) return tell(entry, mounted_on + "the mountpoint climbs by \"..\"");
    if (std::any_of(plan_.mountpoints.begin(), plan_.mountpoints.end(),
                    [&](const auto& other) { return other.first == *file; }))
      return tell(entry, mounted_on + "another line has that mountpoint");
    plan_.mountpoints.emplace_back(*file, *device);
    if (!is_certain(written, *device))
      correct("/etc/fstab, line " + std::to_string(entry.line) + ": libguestfs may read it otherwise");
  }

  /// The line for / should name the given root; if it does not, that is a failure in the report.
  void add_root(const fstab_entry& entry, const named_device& found) {
    plan_.named.insert("/");
    if (std::exchange(rooted_, true))
      return tell(entry, "another line has that mountpoint", numbers_of(g_.version()) >= takes_first_root);
    plan_.filesystems.push_back(root_);
    auto candidates = found.devices;
    if (found.is_known())
      if (const auto volume = volume_of(found.devices.front(), entry)) candidates = {*volume};
    const bool fits = std::any_of(candidates.begin(), candidates.end(),
                                  [&](const auto& device) { return is_on(root_, device); });
    if (!fits) {
      const auto why = found.is_known() ? "that is " + printable(candidates.front()) : found.why;
      return tell(entry, "/ is to be " + excerpt(entry.spec) + (why.empty() ? "" : ": " + why) + "; " +
                             printable(root_) + ", where the system was found, is mounted instead");
    }
    if (candidates.size() != 1 || candidates.front() != root_ || !is_certain(entry, root_))
      correct("/etc/fstab, line " + std::to_string(entry.line) + ": libguestfs may read it otherwise");
  }

  /// Whether the installed libguestfs is sure to read the line as guestkit does.
  bool is_certain(const fstab_entry& entry, const std::string& device) {
    const auto& spec = entry.spec;
    if (!entry.plain || plain_path(entry.file) != entry.file) return false;
    if (entry.type == "btrfs" && option_of(entry.options, "subvolid") && !option_of(entry.options, "subvol"))
      return false;
    if (spec.starts_with("UUID="))
      return device.starts_with("btrfsvol:") || layout_.fact(device, "UUID") == spec.substr(5);
    const auto version = numbers_of(g_.version());
    if (version >= follows_links_to_devices) {
      constexpr std::string_view links = "/dev/disk/by-uuid/";
      if (spec.starts_with(links)) return layout_.fact(device, "UUID") == spec.substr(links.size());
      if (spec.starts_with("/dev/mapper/") && names_.is_in_crypttab(spec)) return false;
    }
    if (version >= finds_partitions_by_tag) {
      if (spec.starts_with("PARTUUID=")) return layout_.fact(device, "PART_ENTRY_UUID") == spec.substr(9);
      if (spec.starts_with("PARTLABEL=")) return layout_.fact(device, "PART_ENTRY_NAME") == spec.substr(10);
    }
    if (spec.starts_with("LABEL=") || spec == "/dev/root") return true;
    if (const auto name = bus_name_of(spec)) return name->bus.ends_with("d") && !name->partition.empty();
    return spec.starts_with("/dev/") && !spec.starts_with("/dev/disk/") && !spec.starts_with("/dev/md");
  }

  /// The name under which libguestfs mounts the top level of a btrfs; the device shows the default subvolume.
  std::string top_of(const std::string& device) {
    auto usual = layout::btrfs_top;
    error_of([&] { usual = layout_.default_subvolume(device, is_on(root_, device) ? "/" : device); });
    return usual == layout::btrfs_top ? device : "btrfsvol:" + device + "//";
  }

  /// The device, or the subvolume that its options name; nothing if there is no such subvolume.
  std::optional<std::string> volume_of(const std::string& device, const fstab_entry& entry) {
    if (entry.type != "btrfs") return device;
    if (auto volume = option_of(entry.options, "subvol")) {
      if (volume->empty()) return device;
      volume->erase(0, volume->find_first_not_of('/'));
      return volume->empty() ? top_of(device) : "btrfsvol:" + device + "/" + *volume;
    }
    const auto number = option_of(entry.options, "subvolid");
    if (!number) return device;
    if (const auto id = number_of(*number); id == layout::btrfs_top || id == 0) return top_of(device);
    std::optional<std::string> found;
    error_of([&] {
      for (const auto& volume : layout_.subvolumes(device))
        if (std::to_string(volume.btrfssubvolume_id) == *number)
          found = "btrfsvol:" + device + "/" + volume.btrfssubvolume_path;
    });
    return found;
  }

  guest_actions& g_;
  layout& layout_;
  std::string root_;
  device_names names_;
  mount_plan plan_;
  few_failures unmounted_{plan_.failures};
  bool rooted_ = false;
};

GUESTKIT_INLINE mount_plan plan_mounts(guest_actions& g, layout& layout, const std::string& root) {
  return mount_planner(g, layout, root).run();
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
