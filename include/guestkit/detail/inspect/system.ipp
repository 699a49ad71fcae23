#pragma once

#include <algorithm>
#include <type_traits>
#include <utility>

#include "guestkit/detail/base/error_of.hpp"
#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/inspect/fstab.hpp"
#include "guestkit/detail/inspect/mount_plan.hpp"
#include "guestkit/detail/inspect/mounts.hpp"
#include "guestkit/detail/inspect/report.hpp"
#include "guestkit/detail/inspect/system.hpp"

// A libguestfs older than that of the build lacks it. Only in the compiled form: header-only, a program's own
// calls of it would lose the loader's error, too.
#if defined(GUESTFS_HAVE_INSPECT_GET_BUILD_ID) && defined(GUESTKIT_COMPILED)
#pragma weak guestfs_inspect_get_build_id
#endif

namespace guestkit::inline GUESTKIT_FORM::detail {

inline bool has_build_ids() noexcept {
#if defined(GUESTFS_HAVE_INSPECT_GET_BUILD_ID) && defined(GUESTKIT_COMPILED)
  return guestfs_inspect_get_build_id != nullptr;
#else
  return true;
#endif
}

GUESTKIT_INLINE void set_unknown(InspectedSystem& system) {
  for (auto* fact : {&system.distro, &system.product_name, &system.product_variant, &system.arch,
                     &system.hostname, &system.package_format, &system.package_management, &system.osinfo})
    *fact = "unknown";
}

GUESTKIT_INLINE InspectedSystem system_at(guest_actions& g, const std::string& root) {
  InspectedSystem system{.root = root};
  system.type = g.inspect_get_type(root);
  system.distro = g.inspect_get_distro(root);
  system.product_name = g.inspect_get_product_name(root);
  system.product_variant = g.inspect_get_product_variant(root);
  system.major_version = g.inspect_get_major_version(root);
  system.minor_version = g.inspect_get_minor_version(root);
  system.arch = g.inspect_get_arch(root);
  system.hostname = g.inspect_get_hostname(root);
  system.package_format = g.inspect_get_package_format(root);
  system.package_management = g.inspect_get_package_management(root);
  system.osinfo = g.inspect_get_osinfo(root);
  const auto mountpoints = g.inspect_get_mountpoints(root);
  system.mountpoints = in_mount_order({mountpoints.begin(), mountpoints.end()});
  system.filesystems = g.inspect_get_filesystems(root);
  if (system.type != "windows") return system;
  system.drive_mappings = g.inspect_get_drive_mappings(root);
  auto& windows = system.windows.emplace();
  // Each is an error if libguestfs could not find it.
  error_of([&] { windows.systemroot = g.inspect_get_windows_systemroot(root); });
  error_of([&] { windows.software_hive = g.inspect_get_windows_software_hive(root); });
  error_of([&] { windows.system_hive = g.inspect_get_windows_system_hive(root); });
  error_of([&] { windows.current_control_set = g.inspect_get_windows_current_control_set(root); });
#ifdef GUESTFS_HAVE_INSPECT_GET_BUILD_ID
  if (has_build_ids()) error_of([&] { system.build_id = g.inspect_get_build_id(root); });
#endif
  return system;
}

GUESTKIT_INLINE std::vector<std::string> facts_that_differ(const InspectedSystem& answer,
                                                           const InspectedSystem& other) {
  std::vector<std::string> all;
  InspectedSystem::each([&](const char* name, auto member) {
    const auto &ours = answer.*member, &theirs = other.*member;
    using fact = std::remove_cvref_t<decltype(ours)>;
    if constexpr (std::is_same_v<fact, std::string>) {
      if (ours != theirs) all.push_back(name + (": " + printable(ours)) + " instead of " + printable(theirs));
    } else if constexpr (std::is_same_v<fact, int>) {
      if (ours != theirs)
        all.push_back(name + (": " + std::to_string(ours)) + " instead of " + std::to_string(theirs));
    }
  });
  return all;
}

/// A filesystem by what it is: of a btrfs on several devices, each may be its name.
inline std::string identity_of(layout& layout, const std::string& filesystem) {
  for (const auto& device : layout.candidates()) {
    if (!is_on(filesystem, device) || layout.fact(device, "TYPE") != "btrfs") continue;
    const auto uuid = layout.fact(device, "UUID");
    const auto volume = filesystem.substr(filesystem.find(device) + device.size());
    if (!uuid.empty()) return "btrfs " + uuid + volume;
  }
  return filesystem;
}

GUESTKIT_INLINE void mount_system(guest_actions& g, InspectedSystem& system, layout& layout,
                                  std::vector<std::string>& corrections) {
  const auto measure = [&](const std::string& device, const std::string& mountpoint) {
    error_of([&] { layout.measure_mounted(device, mountpoint); });
  };
  mount_at(g, system.root, "/", true);
  measure(system.root, "/");
  for (auto& place : system.mountpoints) place.second = known_volume(layout, place.second);
  for (auto& device : system.filesystems) device = known_volume(layout, device);
  auto plan = system.type == "linux" ? plan_mounts(g, layout, system.root)
                                     : mount_plan{.mountpoints = {{"/", known_volume(layout, system.root)}},
                                                  .filesystems = system.filesystems};
  const auto devices = layout.candidates();
  for (const auto& place : system.mountpoints) {
    const std::string &mountpoint = place.first, &device = place.second;
    const auto path = plain_path(mountpoint);
    if (!path || *path == "/" || plan.named.contains(*path)) continue;
    const bool is_there =
        std::ranges::any_of(devices, [&](const auto& known) { return is_on(device, known); });
    if (is_there) {
      plan.named.insert(*path);
      plan.mountpoints.emplace_back(*path, device);
    } else {
      plan.failures.push_back({.part = "mountpoints",
                               .message = printable(device) + " is not mounted on " + excerpt(mountpoint) +
                                          ": no such device is on the disks"});
    }
  }
  const auto settle = [&](const char* name, auto& theirs, auto& ours) {
    const auto identities = [&](auto list) {
      for (auto& one : list)
        if constexpr (requires { one.second; })
          one.second = identity_of(layout, one.second);
        else
          one = identity_of(layout, one);
      std::ranges::sort(list);
      return list;
    };
    if (identities(theirs) != identities(ours))
      corrections.push_back(name + (": " + listed(ours)) + " instead of " + listed(theirs));
    theirs = std::move(ours);
  };
  plan.mountpoints = in_mount_order(std::move(plan.mountpoints));
  for (const auto& [mountpoint, device] : mount_behind_root(g, plan.mountpoints, true, plan.failures))
    measure(device, mountpoint);
  settle("mountpoints", system.mountpoints, plan.mountpoints);
  settle("filesystems", system.filesystems, plan.filesystems);
  system.failures = std::move(plan.failures);
}

GUESTKIT_INLINE void add_icon(guest_actions& g, InspectedSystem& system) {
  const buffer png = g.inspect_get_icon(system.root, {.favicon = false});
  if (!png.empty()) system.icon.emplace(png.bytes().begin(), png.bytes().end());
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
