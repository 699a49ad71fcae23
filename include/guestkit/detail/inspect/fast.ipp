#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <iterator>
#include <limits>
#include <set>
#include <tuple>
#include <utility>

#include "guestkit/detail/base/doubt.hpp"
#include "guestkit/detail/base/error_of.hpp"
#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/base/text.hpp"
#include "guestkit/detail/files/reading.hpp"
#include "guestkit/detail/inspect/fast.hpp"
#include "guestkit/detail/inspect/linux_rules.hpp"
#include "guestkit/detail/inspect/mounts.hpp"
#include "guestkit/detail/inspect/report.hpp"
#include "guestkit/detail/inspect/rules.hpp"
#include "guestkit/detail/inspect/system.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE string_list fast_inspection::find_roots() {
  if (layout_.has_dynamic_disk()) throw doubt{"a dynamic disk"};
  auto devices = layout_.candidates();
  if (layout_.is_uncertain()) throw doubt{"devices that cannot be listed"};
  for (const auto& device : devices) check_type(device);
  // The largest one last: it is the likeliest root, and then it is mounted already when its files are read.
  const auto size = [&](const auto& device) {
    return number_of(layout_.fact(device, "PART_ENTRY_SIZE"))
        .value_or(std::numeric_limits<std::int64_t>::max());
  };
  std::ranges::stable_sort(filesystems_, {}, size);
  for (const auto& device : filesystems_) look_at(device);
  if (roots_.empty() && has_signs_) throw doubt{"no filesystem that looks like a root"};
  // libguestfs lists disks, then opened devices by their names, then the others.
  const auto& disks = layout_.disks();
  std::ranges::stable_sort(devices, {}, [&](const auto& device) {
    const bool is_opened = device.starts_with("/dev/mapper/");
    const int rank = is_opened ? 1 : std::ranges::find(disks, device) != disks.end() ? 0 : 2;
    return std::pair(rank, is_opened ? device : std::string());
  });
  string_list ordered;
  for (const auto& device : devices)
    std::ranges::copy_if(roots_, std::back_inserter(ordered),
                         [&](const auto& root) { return is_on(root, device); });
  return ordered;
}

GUESTKIT_INLINE std::optional<InspectedSystem> fast_inspection::read(const std::string& root) {
  mount_alone(root);
  if (const auto windows = windows_.find(root); windows != windows_.end())
    return read_windows(g_, layout_, root, windows->second, libguestfs_);
  mounted_.clear();
  auto found = read_linux(g_, layout_, root, usr_like_);
  if (is_snapshot(found.system)) return std::nullopt;
  std::ranges::move(found.corrections, std::back_inserter(corrections_));
  seen_.push_back(found.system);
  return std::move(found.system);
}

GUESTKIT_INLINE bool fast_inspection::is_snapshot(const InspectedSystem& system) const {
  const auto facts = [](const InspectedSystem& one) {
    return std::tie(one.type, one.distro, one.product_name, one.major_version, one.minor_version);
  };
  return libguestfs_ >= leaves_out_snapshots && std::ranges::any_of(seen_, [&](const auto& other) {
           return system.root.starts_with("btrfsvol:" + other.root + "/") && facts(system) == facts(other);
         });
}

GUESTKIT_INLINE void fast_inspection::check_type(const std::string& device) {
  constexpr std::array known{"btrfs", "ext2", "ext3", "ext4", "ntfs", "vfat", "xfs"};
  const auto type = layout_.fact(device, "TYPE");
  if (type.empty()) return check_unknown(device);
  if (type == "swap" || layout_.is_container(device)) return;
  if (std::find(known.begin(), known.end(), type) == known.end()) throw doubt{"a " + type + " filesystem"};
  const auto scheme = layout_.fact(device, "PART_ENTRY_SCHEME");
  if (scheme != "gpt" && scheme != "dos" && !scheme.empty())
    throw doubt{"partitions of the scheme " + scheme};
  filesystems_.push_back(device);
}

GUESTKIT_INLINE void fast_inspection::check_unknown(const std::string& device) {
  if (layout_.holds_no_filesystem(device)) return;
  g_.umount_all();
  if (!error_of([&] { mount_at(g_, device, "/", true); })) throw doubt{"a device of unknown content"};
}

GUESTKIT_INLINE void fast_inspection::look_at(const std::string& device) {
  if (layout_.fact(device, "TYPE") == "btrfs") return look_at_volumes(device);
  if (error_of([&] { mount_alone(device); })) throw doubt{"a filesystem that cannot be mounted"};
  layout_.measure_mounted(device, "/");
  look_at_directory(device, "/");
}

GUESTKIT_INLINE void fast_inspection::look_at_volumes(const std::string& device) {
  constexpr std::size_t most = 1000;
  const auto has_same_uuid = [&](const auto& other) {
    return layout_.fact(other, "UUID") == layout_.fact(device, "UUID");
  };
  if (std::ranges::count_if(filesystems_, has_same_uuid) != 1)
    throw doubt{"a btrfs filesystem on several devices"};
  mounted_.clear();
  g_.umount_all();
  if (error_of([&] { mount_top(g_, device); })) throw doubt{"a filesystem that cannot be mounted"};
  layout_.measure_mounted(device, "/");
  const auto& volumes = layout_.subvolumes(device, "/");
  if (volumes.size() > most) throw doubt{"more than " + std::to_string(most) + " subvolumes"};
  const auto usual = layout_.default_subvolume(device, "/");
  const auto is_usual = [&](const auto& volume) {
    return static_cast<std::int64_t>(volume.btrfssubvolume_id) == usual;
  };
  if (usual == layout::btrfs_top) {
    mounted_ = device;
    look_at_directory(device, "/");
  } else {
    const auto its = std::ranges::find_if(volumes, is_usual);
    if (its == volumes.end()) throw doubt{"a default subvolume that is not there"};
    look_at_directory(device, "/" + its->btrfssubvolume_path);
  }
  for (const auto& volume : volumes) {
    const auto& path = volume.btrfssubvolume_path;
    if (is_usual(volume)) continue;
    if (path.find(',') != std::string::npos) {  // libguestfs passes what follows to mount(8) as options
      corrections_.push_back("operating_systems: not looked for in the subvolume " + excerpt(path) +
                             ", for the comma in its name");
      continue;
    }
    look_at_directory("btrfsvol:" + device + "/" + path, "/" + path);
  }
}

GUESTKIT_INLINE void fast_inspection::look_at_directory(const std::string& device,
                                                        const std::string& directory) {
  constexpr std::size_t most_roots = 64;
  std::set<std::string> names;
  for (const auto& name : all_names_in(directory)) {
    const auto folded = in_lower_case(name);
    if (folded != name && is_signature(folded)) throw doubt{"a name in capitals"};
    names.insert(folded);
  }
  const auto has = [&](const char* name) { return names.contains(name); };
  const bool has_signature = std::any_of(names.begin(), names.end(), is_signature);
  const bool is_like_windows = may_be_windows(names);
  has_signs_ = has_signs_ || has_signature || is_like_windows || has("ostree");
  if (!has_signature && !is_like_windows) return;
  for (const auto* other : {"hurd", "service", "netbsd", "bsd", "grub", "grub2", "fdos", "dos"})
    if (has(other)) throw doubt{"the root has a " + std::string(other)};
  if (is_like_windows) {
    const bool is_like_var = has("log") && has("run") && has("spool");
    if (has_signature || is_like_var || directory != "/") throw doubt{"what may be a Windows among others"};
    if (auto windows = find_windows(g_, names)) {
      windows_.emplace(device, *std::move(windows));
      roots_.push_back(device);
    }
    return;
  }
  // Every kind of root with /etc has /bin, too; all but CoreOS' root.
  if (has("etc") && !has("bin") && !(has("usr") && has("home") && has("root"))) return;
  // Without /etc, it may be the /usr of a root.
  (has("etc") ? roots_ : usr_like_).push_back(device);
  if (roots_.size() > most_roots) throw doubt{"more than " + std::to_string(most_roots) + " roots"};
}

GUESTKIT_INLINE string_list fast_inspection::all_names_in(const std::string& directory) {
  string_list names;
  const auto error = error_of([&] {
    check_names_of(g_, directory);
    names = unsorted_names_in(g_, directory);
  });
  if (error && error->error_number() != ENOENT) throw doubt{"a directory that cannot be read"};
  return names;
}

GUESTKIT_INLINE bool fast_inspection::is_signature(const std::string& name) {
  constexpr std::array all{"etc", "bin", "hurd", "fdos", "dos"};
  return std::find(all.begin(), all.end(), name) != all.end();
}

GUESTKIT_INLINE void fast_inspection::mount_alone(const std::string& device) {
  if (mounted_ == device) return;
  mounted_.clear();
  g_.umount_all();
  mount_at(g_, device, "/", true);
  mounted_ = device;
}

GUESTKIT_INLINE std::vector<std::string> differences(const InspectedSystem& fast,
                                                     const InspectedSystem& theirs) {
  auto all = facts_that_differ(fast, theirs);
  const auto compare = [&](const char* name, const auto& ours, const auto& other) {
    if (ours != other) all.push_back(name + (": " + listed(ours)) + " instead of " + listed(other));
  };
  compare("mountpoints", fast.mountpoints, theirs.mountpoints);
  compare("filesystems", fast.filesystems, theirs.filesystems);
  compare("drive_mappings", fast.drive_mappings, theirs.drive_mappings);
  const InspectedWindows none, &windows = fast.windows ? *fast.windows : none,
                               &others = theirs.windows ? *theirs.windows : none;
  InspectedWindows::each([&](const char* name, auto member) {
    if (windows.*member != others.*member)
      all.push_back(name + (": " + printable(windows.*member)) + " instead of " + printable(others.*member));
  });
  if (fast.applications != theirs.applications || fast.applications_complete != theirs.applications_complete)
    all.emplace_back("applications");
  if (fast.failures.size() != theirs.failures.size()) all.emplace_back("failures");
  return all;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
