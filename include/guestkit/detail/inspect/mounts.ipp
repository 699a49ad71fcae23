#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <set>
#include <utility>

#include "guestkit/detail/base/error_of.hpp"
#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/inspect/fstab.hpp"
#include "guestkit/detail/inspect/mounts.hpp"
#include "guestkit/detail/inspect/report.hpp"
#include "guestkit/error.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE string_list mountable_filesystems(layout& layout, std::vector<InspectFailure>& left_out) {
  constexpr std::size_t most_subvolumes = 64;
  string_list all;
  std::set<std::string> told;  // the UUIDs: of one btrfs on several devices, each has all subvolumes
  for (const auto& device : layout.candidates()) {
    const auto type = layout.fact(device, "TYPE");
    if (type.empty() || type == "swap" || layout.is_container(device)) continue;
    all.push_back(device);
    if (type != "btrfs") continue;
    error_of([&] {
      std::size_t count = 0, added = 0;
      const auto usual = layout.default_subvolume(device, device);
      for (const auto& volume : layout.subvolumes(device)) {
        if (static_cast<std::int64_t>(volume.btrfssubvolume_id) == usual) continue;
        ++count;
        if (added == most_subvolumes || volume.btrfssubvolume_path.find(',') != std::string::npos) continue;
        all.push_back("btrfsvol:" + device + "/" + volume.btrfssubvolume_path);
        ++added;
      }
      if (count > added && told.insert(layout.fact(device, "UUID")).second)
        left_out.push_back({.part = "operating_systems",
                            .message = printable(device) + ": besides the default subvolume, " +
                                       std::to_string(added) + " of " + std::to_string(count) +
                                       " were looked at"});
    });
  }
  return all;
}

GUESTKIT_INLINE std::optional<path_fault> fault_of_mountpoint(guest_actions& g,
                                                              const std::string& mountpoint) {
  if (!mountpoint.starts_with('/')) return path_fault{.why = "the mountpoint is no absolute path"};
  const auto path = plain_path(mountpoint);
  if (!path) return path_fault{.why = "the mountpoint climbs by \"..\""};
  if (*path == "/") return path_fault{.why = "that is where the root is mounted"};
  return fault_of_path(g, *path, FileKind::directory);
}

GUESTKIT_INLINE void mount_at(guest_actions& g, const std::string& device, const std::string& path,
                              bool readonly) {
  if (device.find(',') != std::string::npos)
    throw Error("mount", excerpt(device) + ": a comma in its name would begin another option of mount(8)",
                EINVAL);
  readonly ? g.mount_ro(device, path) : g.mount(device, path);
}

GUESTKIT_INLINE std::optional<Error> read_only_fault(guest_actions& g, const std::string& device,
                                                     const std::string& path) {
  constexpr std::int64_t readonly = 1;  // ST_RDONLY of the appliance's Linux
  StatVFS status;
  if (const auto failed = error_of([&] { status = g.statvfs(path); }))
    return Error(
        "mount_guest",
        printable(device) + ": whether it can be written to is unknown: " + one_line(failed->message()),
        failed->error_number(), {Cause::unknown, "open the guest read-only"});
  if ((status.flag & readonly) == 0) return std::nullopt;
  std::string type;
  error_of([&] { type = g.blkid(device)["TYPE"]; });
  const auto what = printable(device) + ": can only be mounted read-only";
  if (type.starts_with("ntfs"))
    return Error("mount_guest", what + ": Windows is hibernated, or was shut down with Fast Startup", EROFS,
                 {Cause::unknown,
                  "shut Windows down fully (no Fast Startup, no hibernation), or open the guest read-only"});
  return Error("mount_guest", what + (type.empty() ? "" : " (" + printable(type) + ")"), EROFS,
               {Cause::unknown,
                "open the guest read-only; if the filesystem is damaged, its own program repairs it (fsck)"});
}

inline InspectFailure failure_beside_root(const Error& fault, const std::string& mountpoint) {
  const std::string how = fault.error_number() == EROFS ? "read-only " : "";
  return {.part = "mountpoints",
          .message = fault.message() + "; it is mounted " + how + "on " + excerpt(mountpoint),
          .op = fault.op(),
          .error_number = fault.error_number()};
}

GUESTKIT_INLINE void mount_top(guest_actions& g, const std::string& device) {
  g.mount_options("ro,subvolid=" + std::to_string(layout::btrfs_top), device, "/");
}

GUESTKIT_INLINE mountpoint_list mount_behind_root(guest_actions& g, mountpoint_list& mountpoints,
                                                  bool readonly, std::vector<InspectFailure>& failures) {
  constexpr std::size_t most = 100;
  std::size_t count = 0;
  mountpoint_list kept, mounted;
  few_failures refused(failures), beyond(failures), unwritable(failures);
  for (const auto& place : mountpoints) {
    const auto& mountpoint = place.first;
    const auto& device = place.second;
    if (mountpoint == "/") {
      kept.emplace_back(mountpoint, device);
      continue;
    }
    const auto refusal = [&](const std::string& why) {
      return InspectFailure{
          .part = "mountpoints",
          .message = printable(device) + " is not mounted on " + excerpt(mountpoint) + ": " + why};
    };
    if (++count > most) {
      beyond.add(refusal("more than " + std::to_string(most) + " mountpoints"));
      continue;
    }
    const auto fault = fault_of_mountpoint(g, mountpoint);
    if (fault) refused.add(refusal(fault->why));
    if (fault && !fault->is_missing) continue;
    kept.emplace_back(plain_path(mountpoint).value_or(mountpoint), device);
    if (fault) continue;
    if (const auto error = error_of([&] { mount_at(g, device, kept.back().first, readonly); })) {
      auto failed = refusal(one_line(error->message()));
      failed.op = error->op();
      failed.error_number = error->error_number();
      refused.add(std::move(failed));
    } else {
      mounted.push_back(kept.back());
      const auto cannot = readonly ? std::nullopt : read_only_fault(g, device, kept.back().first);
      if (cannot) unwritable.add(failure_beside_root(*cannot, mountpoint));
    }
  }
  for (auto* some : {&refused, &beyond}) some->add_rest("", " more filesystems are not mounted");
  unwritable.add_rest("", " more filesystems are, or may be, mounted read-only");
  mountpoints = std::move(kept);
  return mounted;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
