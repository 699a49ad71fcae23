// An operating system as libguestfs' inspection sees it, after inspect_os.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "../generated/inspection.hpp"
#include "borrowed.hpp"
#include "layout.hpp"
#include "mounts.hpp"
#include "parts.hpp"

namespace guestkit::detail {

/// Shorter mountpoints first, so that each can be mounted in turn.
inline std::vector<std::pair<std::string, std::string>> in_mount_order(const hashtable& found) {
  std::vector<std::pair<std::string, std::string>> order(found.begin(), found.end());
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return a.first.size() < b.first.size(); });
  return order;
}

template <class Guest>
InspectedSystem system_at(Guest& g, const std::string& root) {
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
  system.mountpoints = in_mount_order(g.inspect_get_mountpoints(root));
  system.filesystems = g.inspect_get_filesystems(root);
  if (system.type != "windows") return system;
  system.drive_mappings = g.inspect_get_drive_mappings(root);
  auto& windows = system.windows.emplace();
  // Each is an error where libguestfs could not find it.
  attempt([&] { windows.systemroot = g.inspect_get_windows_systemroot(root); });
  attempt([&] { windows.software_hive = g.inspect_get_windows_software_hive(root); });
  attempt([&] { windows.system_hive = g.inspect_get_windows_system_hive(root); });
  attempt([&] { windows.current_control_set = g.inspect_get_windows_current_control_set(root); });
#ifdef GUESTFS_HAVE_INSPECT_GET_BUILD_ID
  attempt([&] { system.build_id = g.inspect_get_build_id(root); });
#endif
  return system;
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

/// libguestfs writes a subvolume with the slashes that fstab has.
inline std::string with_plain_volume(std::string device) {
  if (device.starts_with("btrfsvol:"))
    for (auto at = device.find("//"); at != std::string::npos; at = device.find("//")) device.erase(at, 1);
  return device;
}

/// Mounts an operating system that libguestfs has found: its root at /, whatever fstab names for it, and the
/// others where they belong. What cannot be mounted is told.
///
/// Of a Linux guestkit's own plan counts, and whatever libguestfs has found beside fstab.
/// @param corrections  told where the plan differs from what libguestfs says
template <class Guest>
void mount_system(Guest& g, InspectedSystem& system, layout<Guest>& layout,
                  std::vector<std::string>& corrections) {
  const auto mounted = [&](const std::string& device, const std::string& mountpoint) {
    attempt([&] { layout.measure_mounted(device, mountpoint); });
  };
  if (const auto error = attempt([&] { g.mount_ro(system.root, "/"); }))
    return system.failures.push_back(failure("mountpoints", *error));
  mounted(system.root, "/");
  for (auto& place : system.mountpoints) place.second = with_plain_volume(place.second);
  for (auto& device : system.filesystems) device = with_plain_volume(device);
  auto plan = system.type == "linux"
                  ? plan_mounts(g, layout, system.root)
                  : mount_plan{.mountpoints = {{"/", system.root}}, .filesystems = system.filesystems};
  const auto devices = layout.candidates();
  for (const auto& place : system.mountpoints) {
    const std::string &mountpoint = place.first, &device = place.second;
    if (mountpoint == "/" || plan.named.contains(mountpoint)) continue;
    const bool is_there = std::any_of(devices.begin(), devices.end(), [&](const auto& known) {
      return device == known || device.starts_with("btrfsvol:" + known + "/");
    });
    if (is_there) {
      plan.mountpoints.emplace_back(mountpoint, device);
    } else {
      plan.failures.push_back({.part = "mountpoints",
                               .message = printable(device) + " is not mounted on " + excerpt(mountpoint) +
                                          ": no such device is on the disks"});
    }
  }
  const auto settle = [&](const char* name, auto& theirs, auto& ours) {
    auto one = theirs, other = ours;
    std::sort(one.begin(), one.end());
    std::sort(other.begin(), other.end());
    if (one != other) corrections.push_back(name + (": " + listed(ours)) + " instead of " + listed(theirs));
    theirs = std::move(ours);
  };
  std::stable_sort(plan.mountpoints.begin(), plan.mountpoints.end(),
                   [](const auto& a, const auto& b) { return a.first.size() < b.first.size(); });
  mount_behind_root(g, plan.mountpoints, true, plan.failures, mounted);
  settle("mountpoints", system.mountpoints, plan.mountpoints);
  settle("filesystems", system.filesystems, plan.filesystems);
  system.failures = std::move(plan.failures);
}

/// Where the package formats that libguestfs lists keep their databases.
inline std::vector<std::string> package_databases(const std::string& format) {
  if (format == "rpm") {
    std::vector<std::string> files;
    for (const std::string directory : {"/var/lib/rpm/", "/usr/lib/sysimage/rpm/"})
      for (const auto* name : {"rpmdb.sqlite", "Packages.db", "Packages"}) files.push_back(directory + name);
    return files;
  }
  if (format == "deb") return {"/var/lib/dpkg/status"};
  if (format == "apk") return {"/lib/apk/db/installed"};
  if (format == "pacman") return {"/var/lib/pacman/local"};
  return {};
}

/// @param app  libguestfs' Application2
template <class Application>
InspectedApplication application(const Application& app) {
  return {.name = app.app2_name,
          .display_name = app.app2_display_name,
          .epoch = app.app2_epoch,
          .version = app.app2_version,
          .release = app.app2_release,
          .arch = app.app2_arch,
          .install_path = app.app2_install_path,
          .publisher = app.app2_publisher,
          .url = app.app2_url,
          .source_package = app.app2_source_package,
          .summary = app.app2_summary,
          .description = app.app2_description};
}

/// Lists the packages, and tells whether these are all: libguestfs gives an empty list for a database that it
/// cannot read, and for formats that it does not know.
template <class Guest>
void add_applications(Guest& g, InspectedSystem& system) {
  if (const auto error = attempt([&] {
        for (const auto& app : g.inspect_list_applications2(system.root))
          system.applications.push_back(application(app));
      })) {
    system.failures.push_back(failure("applications", *error));
    return;
  }
  const auto incomplete = [&](const std::string& why) {
    system.failures.push_back({.part = "applications", .message = why});
  };
  if (!system.applications.empty() || system.type == "windows") {
    system.applications_complete = true;
    return;
  }
  const auto databases = package_databases(system.package_format);
  if (databases.empty())
    return incomplete("libguestfs lists no packages of the format " + system.package_format);
  for (const auto& database : databases)
    if (bool there = false; !attempt([&] { there = g.exists(database); }) && there)
      return incomplete("the package database " + database +
                        " is there, but no package could be read from it");
  incomplete("there is no package database");
}

template <class Guest>
void add_icon(Guest& g, InspectedSystem& system) {
  if (const auto error = attempt([&] {
        const buffer png = g.inspect_get_icon(system.root, {.favicon = false});
        if (!png.empty()) system.icon.emplace(png.bytes().begin(), png.bytes().end());
      }))
    system.failures.push_back(failure("icon", *error));
}

}  // namespace guestkit::detail
