// What is mounted where: which devices a guest's fstab names, and the one function that mounts at a path that
// a guest chose.
//
// libguestfs' mount does not chroot: it hands mount(8) the mountpoint behind /sysroot, so that `..` and a
// guest's symlinks lead to the appliance's own files.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/inspect/borrowed.hpp"
#include "guestkit/detail/inspect/device_names.hpp"
#include "guestkit/detail/inspect/fstab.hpp"
#include "guestkit/detail/inspect/layout.hpp"
#include "guestkit/detail/inspect/tree.hpp"
#include "guestkit/files.hpp"
#include "guestkit/generated/inspection.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Filesystems by their mountpoints.
using mountpoint_list = std::vector<std::pair<std::string, std::string>>;

/// Shorter mountpoints first, so that each can be mounted in turn.
inline mountpoint_list in_mount_order(mountpoint_list mountpoints) {
  std::ranges::stable_sort(mountpoints, {}, [](const auto& place) { return place.first.size(); });
  return mountpoints;
}

/// A subvolume of btrfs under the name that the report has for its device. libguestfs leaves such a name as
/// the appliance's kernel has it, which may call the first disk sdb, and with the slashes that fstab has.
template <class Guest>
std::string known_volume(layout<Guest>& layout, std::string volume) {
  const std::string prefix = "btrfsvol:";
  if (!volume.starts_with(prefix)) return volume;
  for (auto at = volume.find("//"); at != std::string::npos; at = volume.find("//")) volume.erase(at, 1);
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

/// What is mounted where.
struct mount_plan {
  mountpoint_list mountpoints = {};  ///< in mount order: the root at / first
  std::vector<std::string> filesystems =
      {};  ///< what fstab names, swap too; in libguestfs' order: last first
  std::vector<InspectFailure> failures = {};
  /// Every mountpoint in fstab, as a plain path, also where nothing is mounted on it: what fstab says of
  /// these counts, whatever libguestfs says.
  std::set<std::string> named = {};
  std::vector<std::string> corrections = {};  ///< where libguestfs may read fstab otherwise, and errs
};

/// A regular file's first bytes, links followed in the guest; nothing if there is none. Throws Error for what
/// is no regular file.
template <class Guest>
std::optional<std::string> beginning_of(Guest& g, const std::string& path, std::size_t limit) {
  std::int64_t mode = 0, size = 0;
  if (attempt([&] {
        const auto status = g.statns(path);
        mode = status.st_mode;
        size = status.st_size;
      }))
    return std::nullopt;
  if (kind_of(mode) != FileKind::regular) throw Error("read_small", path + ": not a regular file", EINVAL);
  std::string text;
  while (text.size() < limit && static_cast<std::int64_t>(text.size()) < size) {
    const auto wanted = std::min(limit - text.size(), pread_most);
    const buffer part = g.pread(path, static_cast<int>(wanted), static_cast<std::int64_t>(text.size()));
    if (part.empty()) break;
    text += part.view();
  }
  return text;
}

/// Decides what is mounted where: the root that was found at /, whatever fstab says; the rest as fstab says.
template <class Guest>
class mount_planner {
 public:
  mount_planner(Guest& g, layout<Guest>& layout, std::string root)
      : g_(g), layout_(layout), root_(known_volume(layout, std::move(root))), names_(g, layout, root_) {}

  /// The root is mounted at /, and nothing else is.
  mount_plan run() {
    plan_.mountpoints.emplace_back("/", root_);
    const auto read = read_fstab();
    for (const auto& entry : read.entries) names_.learn(entry.spec, entry.file == "/");
    for (const auto& entry : read.entries) add(entry);
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
    const auto error = attempt([&] {
      if (const auto text = beginning_of(g_, "/etc/crypttab", most_fstab_bytes)) names_.read_crypttab(*text);
    });
    if (error) plan_.failures.push_back(failure("mountpoints", *error));
    if (const auto unread = attempt([&] {
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

  void tell(const fstab_entry& entry, const std::string& why) {
    plan_.failures.push_back(line_failure(entry.line, why));
    correct(plan_.failures.back().message);
  }

  void add(const fstab_entry& written) {
    auto entry = written;
    const auto file = plain_path(entry.file);
    if (file) entry.file = *file;
    if (is_ignored(entry)) return;
    const auto found = names_.find(entry.spec);
    if (entry.file == "/") return add_root(entry, found);
    if (found.devices.empty() && found.why.empty()) return;  // tmpfs, a server's, a bind mount, …
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

  /// What stands for / is the root, or is told.
  void add_root(const fstab_entry& entry, const named_device& found) {
    plan_.named.insert("/");
    if (std::exchange(rooted_, true)) return tell(entry, "another line has that mountpoint");
    plan_.filesystems.push_back(root_);
    auto candidates = found.devices;
    if (found.is_known())
      if (const auto volume = volume_of(found.devices.front(), entry)) candidates = {*volume};
    const bool fits = std::any_of(candidates.begin(), candidates.end(), [&](const auto& device) {
      return device == root_ || root_.starts_with("btrfsvol:" + device + "/");
    });
    if (!fits) {
      const auto why = found.is_known() ? "that is " + printable(candidates.front()) : found.why;
      return tell(entry, "/ is to be " + excerpt(entry.spec) + (why.empty() ? "" : ": " + why) + "; " +
                             printable(root_) + ", where the system was found, is mounted instead");
    }
    if (candidates.size() != 1 || candidates.front() != root_ || !is_certain(entry, root_))
      correct("/etc/fstab, line " + std::to_string(entry.line) + ": libguestfs may read it otherwise");
  }

  /// Whether libguestfs, also an old one, surely reads the line as guestkit does.
  bool is_certain(const fstab_entry& entry, const std::string& device) {
    const auto& spec = entry.spec;
    if (!entry.plain || plain_path(entry.file) != entry.file) return false;
    if (entry.type == "btrfs" && option_of(entry.options, "subvolid") && !option_of(entry.options, "subvol"))
      return false;
    if (spec.starts_with("UUID="))
      return device.starts_with("btrfsvol:") || layout_.fact(device, "UUID") == spec.substr(5);
    if (spec.starts_with("LABEL=") || spec == "/dev/root") return true;
    if (const auto name = bus_name_of(spec)) return name->bus.ends_with("d") && !name->partition.empty();
    return spec.starts_with("/dev/") && !spec.starts_with("/dev/disk/") && !spec.starts_with("/dev/md");
  }

  /// With the subvolume of btrfs that the options say; nothing if there is no such one.
  std::optional<std::string> volume_of(const std::string& device, const fstab_entry& entry) {
    if (entry.type != "btrfs") return device;
    if (auto volume = option_of(entry.options, "subvol")) {
      volume->erase(0, volume->find_first_not_of('/'));
      return volume->empty() ? device : "btrfsvol:" + device + "/" + *volume;
    }
    const auto number = option_of(entry.options, "subvolid");
    if (!number || number_of(*number) == 5 || number_of(*number) == 0) return device;
    std::optional<std::string> found;
    attempt([&] {
      for (const auto& volume : g_.btrfs_subvolume_list(device))
        if (std::to_string(volume.btrfssubvolume_id) == *number)
          found = "btrfsvol:" + device + "/" + volume.btrfssubvolume_path;
    });
    return found;
  }

  Guest& g_;
  layout<Guest>& layout_;
  std::string root_;
  device_names<Guest> names_;
  mount_plan plan_;
  bool rooted_ = false;
};

template <class Guest>
mount_plan plan_mounts(Guest& g, layout<Guest>& layout, const std::string& root) {
  return mount_planner<Guest>(g, layout, root).run();
}

/// Every filesystem that may be looked into, btrfs' subvolumes beside the default one too.
template <class Guest>
string_list mountable_filesystems(Guest& g, layout<Guest>& layout) {
  constexpr std::size_t most_subvolumes = 64;
  string_list all;
  for (const auto& device : layout.candidates()) {
    const auto type = layout.fact(device, "TYPE");
    if (type.empty() || type == "swap" || type == "crypto_LUKS" || type == "BitLocker" ||
        type.ends_with("_member"))
      continue;
    all.push_back(device);
    if (type != "btrfs") continue;
    attempt([&] {
      std::size_t count = 0;
      const auto usual = g.btrfs_subvolume_get_default(device);
      for (const auto& volume : g.btrfs_subvolume_list(device))
        if (static_cast<std::int64_t>(volume.btrfssubvolume_id) != usual && ++count <= most_subvolumes &&
            volume.btrfssubvolume_path.find(',') == std::string::npos)
          all.push_back("btrfsvol:" + device + "/" + volume.btrfssubvolume_path);
    });
  }
  return all;
}

/// Why libguestfs' inspection must not be asked about the filesystem at /: it has augeas open these files
/// outside of the guest's root, read all of them and look up each entry. Nothing: it may be.
template <class Guest>
std::optional<std::string> fault_for_augeas(Guest& g) {
  const auto look = [&](const std::string& path) {
    auto kind = std::optional<FileKind>();
    std::int64_t size = 0;
    attempt([&] {
      const auto status = g.lstatns(path);
      kind = kind_of(status.st_mode);
      size = status.st_size;
    });
    return std::pair(kind, size);
  };
  const auto is = [&](const char* path, FileKind kind) { return look(path).first == kind; };
  if (!is("/etc", FileKind::directory)) return std::nullopt;
  if (!is("/etc/fstab", FileKind::regular) && !is("/etc/hosts", FileKind::regular)) return std::nullopt;
  for (const std::string directory : {"/etc/mdadm", "/etc/sysconfig"})
    if (is(directory.c_str(), FileKind::symlink)) return directory + " is a symlink";
  for (const std::string path : {"/etc/fstab", "/etc/crypttab", "/etc/mdadm.conf", "/etc/mdadm/mdadm.conf"}) {
    const auto [kind, size] = look(path);
    if (!kind) continue;
    if (*kind != FileKind::regular) return path + " is no regular file";
    if (size > static_cast<std::int64_t>(most_fstab_bytes))
      return path + " has " + std::to_string(size) + " bytes";
  }
  std::optional<std::string> fault;
  attempt([&] {
    if (const auto text = beginning_of(g, "/etc/fstab", most_fstab_bytes); text && fstab_of(*text).is_cut)
      fault = "/etc/fstab has more than " + std::to_string(most_fstab_entries) + " entries";
  });
  return fault;
}

/// Why nobody may mount at a path of the guest's; nothing: one may. libguestfs follows symlinks there outside
/// of the guest.
template <class Guest>
std::optional<path_fault> fault_of_mountpoint(Guest& g, const std::string& mountpoint) {
  if (!mountpoint.starts_with('/')) return path_fault{.why = "the mountpoint is no absolute path"};
  const auto path = plain_path(mountpoint);
  if (!path) return path_fault{.why = "the mountpoint climbs by \"..\""};
  if (*path == "/") return path_fault{.why = "that is where the root is mounted"};
  return fault_of_path(g, *path, FileKind::directory);
}

/// Mounts a filesystem whose name a guest may have chosen; nothing else in guestkit does. The name of a
/// subvolume becomes an option of mount(8).
/// @param path  / or one for which fault_of_mountpoint() has nothing to say
template <class Guest>
void mount_at(Guest& g, const std::string& device, const std::string& path, bool readonly) {
  if (device.find(',') != std::string::npos)
    throw Error("mount", excerpt(device) + ": a comma in its name would begin another option of mount(8)",
                EINVAL);
  readonly ? g.mount_ro(device, path) : g.mount(device, path);
}

/// Mounts at the guest's mountpoints, behind the root, which is mounted; nothing else in guestkit mounts at a
/// path that a guest chose. Returns what is mounted now, without the root. What is not is told in the
/// failures.
/// @param mountpoints  in mount order; those at which nobody may mount are taken out, the others made plain
template <class Guest>
mountpoint_list mount_behind_root(Guest& g, mountpoint_list& mountpoints, bool readonly,
                                  std::vector<InspectFailure>& failures) {
  constexpr std::size_t most = 100;
  std::size_t count = 0;
  mountpoint_list kept, mounted;
  for (const auto& place : mountpoints) {
    const auto& mountpoint = place.first;
    const auto& device = place.second;
    if (mountpoint == "/") {
      kept.emplace_back(mountpoint, device);
      continue;
    }
    const auto refuse = [&](const std::string& why) {
      failures.push_back(
          {.part = "mountpoints",
           .message = printable(device) + " is not mounted on " + excerpt(mountpoint) + ": " + why});
    };
    if (++count > most) {
      refuse("more than " + std::to_string(most) + " mountpoints");
      break;
    }
    const auto fault = fault_of_mountpoint(g, mountpoint);
    if (fault) refuse(fault->why);
    if (fault && !fault->is_missing) continue;
    kept.emplace_back(plain_path(mountpoint).value_or(mountpoint), device);
    if (fault) continue;
    if (const auto error = attempt([&] { mount_at(g, device, kept.back().first, readonly); })) {
      refuse(one_line(error->message()));
      failures.back().op = error->op();
      failures.back().error_number = error->error_number();
    } else {
      mounted.push_back(kept.back());
    }
  }
  mountpoints = std::move(kept);
  return mounted;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
