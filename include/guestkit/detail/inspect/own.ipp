#pragma once

#include <algorithm>
#include <set>
#include <utility>

#include "guestkit/detail/base/error_of.hpp"
#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/base/text.hpp"
#include "guestkit/detail/files/reading.hpp"
#include "guestkit/detail/inspect/augeas_fault.hpp"
#include "guestkit/detail/inspect/linux_rules.hpp"
#include "guestkit/detail/inspect/mounts.hpp"
#include "guestkit/detail/inspect/own.hpp"
#include "guestkit/detail/inspect/parts.hpp"
#include "guestkit/detail/inspect/registry_fault.hpp"
#include "guestkit/detail/inspect/release.hpp"
#include "guestkit/detail/inspect/report.hpp"
#include "guestkit/detail/inspect/rules.hpp"
#include "guestkit/detail/inspect/system.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE void own_inspection::look_around() {
  g_.umount_all();  // before the daemon mounts filesystems of btrfs itself, for their subvolumes
  for (const auto& device : mountable_filesystems(layout_, left_out_))
    if (mount(device)) look_at(device);
  g_.umount_all();
}

GUESTKIT_INLINE std::vector<own_inspection::possible_system> own_inspection::possible_systems(
    const std::vector<InspectedSystem>& known) const {
  std::set<std::string> taken;
  for (const auto& system : known) {
    taken.insert(known_volume(layout_, system.root));
    for (const auto& filesystem : system.filesystems) taken.insert(known_volume(layout_, filesystem));
  }
  std::set<btrfs_system> told;
  for (const auto& one : possible_)
    if (one.on_btrfs && taken.contains(one.device)) told.insert(*one.on_btrfs);
  std::vector<possible_system> all;
  for (const auto& one : possible_) {
    if (taken.contains(one.device)) continue;
    const bool is_snapshot = one.on_btrfs && !told.insert(*one.on_btrfs).second;
    if (!is_snapshot) all.push_back(one);
  }
  if (all.empty() && known.empty() && !usrs_.empty())
    all.push_back({.device = usrs_.front(), .is_usr = true});
  return all;
}

GUESTKIT_INLINE std::optional<own_inspection::btrfs_system> own_inspection::btrfs_system_on(
    const std::string& filesystem) {
  for (const auto& device : layout_.candidates()) {
    if (!is_on(filesystem, device) || layout_.fact(device, "TYPE") != "btrfs") continue;
    InspectedSystem system;
    add_os_release(files(), system);
    if (system.os_release.empty()) return std::nullopt;
    return btrfs_system{.uuid = layout_.fact(device, "UUID"),
                        .id = value_or_empty(system.os_release, "ID"),
                        .version_id = value_or_empty(system.os_release, "VERSION_ID")};
  }
  return std::nullopt;
}

GUESTKIT_INLINE std::optional<InspectedSystem> own_inspection::read(const possible_system& one) {
  if (one.is_usr) return system_of_usr();
  if (!mount(one.device)) return std::nullopt;
  if (one.windows) return read_windows_alone(g_, layout_, one.device, *one.windows, numbers_of(g_.version()));
  return one.is_ostree ? deployed_on(one.device) : read_mounted(one.device);
}

GUESTKIT_INLINE std::optional<InspectedSystem> own_inspection::read_chosen(const std::string& device,
                                                                           bool readonly) {
  if (auto system = read_mounted(device, readonly)) return system;
  if (!ostree_deployments::are_in(files())) return std::nullopt;
  error_of([&] { deployments_.read_boot_entries(); });
  std::optional<InspectedSystem> system;
  error_of([&] { system = deployed_on(device); });  // a root that was chosen is mounted, whatever is in it
  return system;
}

GUESTKIT_INLINE std::optional<InspectedSystem> own_inspection::read_mounted(const std::string& device,
                                                                            bool readonly) {
  auto found = read_linux_alone(g_, layout_, device, readonly);
  if (!found) return linux_on(device, readonly);
  behind_root_ = std::move(found->mounted);
  auto& system = found->system;
  const auto beyond_the_rules = [](const auto& failure) { return failure.part == "os_release"; };
  if (std::ranges::none_of(system.failures, beyond_the_rules)) return std::move(system);
  add_os_release(files(), system);
  if (system.os_release.empty()) return std::move(system);
  std::erase_if(system.failures, beyond_the_rules);
  take_release(files(), system);
  if (system.package_format == "unknown") take_package_format(files(), system);
  return std::move(system);
}

GUESTKIT_INLINE bool own_inspection::mount(const std::string& device) {
  g_.umount_all();
  return !error_of([&] {
    mount_at(g_, device, "/", true);
    layout_.measure_mounted(device, "/");
  });
}

GUESTKIT_INLINE void own_inspection::look_at(const std::string& device) {
  if (const auto fault = fault_for_registry(g_)) object(device, *fault);
  if (const auto fault = fault_for_augeas(g_)) object(device, *fault);
  deployments_.read_boot_entries();
  if (ostree_deployments::are_in(files())) possible_.push_back({.device = device, .is_ostree = true});
  bool has_etc = false;
  error_of([&] {
    g_.lstatns("/etc");
    has_etc = true;
  });
  if (has_etc && has_os_release(files())) {
    possible_.push_back({.device = device, .on_btrfs = btrfs_system_on(device)});
  } else if (auto windows = windows_here()) {
    possible_.push_back({.device = device, .windows = std::move(windows)});
  } else if (files().has_directory("/bin") && files().has_file("/lib/os-release")) {
    usrs_.push_back(device);
  } else if (has_etc || is_root_label(layout_.fact(device, "LABEL"))) {
    bare_roots_.push_back(device);
  }
}

GUESTKIT_INLINE std::optional<windows_place> own_inspection::windows_here() {
  std::set<std::string> names;
  for (auto& name : few_names_in(g_, "/")) names.insert(in_lower_case(std::move(name)));
  try {
    return find_windows(g_, names);
  } catch (const doubt&) {
    return std::nullopt;
  }
}

GUESTKIT_INLINE bool own_inspection::is_root_label(const std::string& label) {
  return label == "ROOT" || label == "root";
}

GUESTKIT_INLINE void own_inspection::object(const std::string& device, const std::string& why) {
  if (fault_.empty()) fault_ = "on " + printable(device) + ", " + why;
}

GUESTKIT_INLINE std::optional<InspectedSystem> own_inspection::linux_on(const std::string& device,
                                                                        bool readonly) {
  auto system = system_in(device, "");
  if (!system) return system;
  auto plan = plan_mounts(g_, layout_, device);
  system->mountpoints = std::move(plan.mountpoints);
  system->filesystems = std::move(plan.filesystems);
  system->failures = std::move(plan.failures);
  behind_root_ = mount_behind_root(g_, system->mountpoints, readonly, system->failures);
  return system;
}

GUESTKIT_INLINE std::optional<InspectedSystem> own_inspection::system_in(const std::string& device,
                                                                         const std::string& directory) {
  InspectedSystem system{.root = device, .root_directory = directory};
  const guest_tree files{g_, directory};
  add_os_release(files, system);
  if (system.os_release.empty()) return std::nullopt;
  describe(files, system);
  system.mountpoints = {{"/", device}};
  system.filesystems = {device};
  return system;
}

GUESTKIT_INLINE void own_inspection::describe(const guest_tree& files, InspectedSystem& system) {
  set_unknown(system);
  take_release(files, system);
  system.type = system.distro == "freebsd" ? "freebsd" : "linux";
  take_package_format(files, system);
  for (const auto* program : {"/bin/bash", "/bin/ls", "/bin/sh", "/usr/bin/bash", "/usr/bin/env",
                              "/nix/var/nix/profiles/system/sw/bin/bash"}) {
    if (!files.has_file(program)) continue;
    error_of([&] {
      const buffer header = g_.pread(files.path(program), 64, 0);
      try {
        system.arch = elf_architecture(header.view());
      } catch (const doubt&) {  // a script, or a machine without a name
      }
    });
    break;
  }
  for (const auto* file : {"/etc/HOSTNAME", "/etc/hostname"})
    if (const auto text = files.text(file))
      if (const auto name = hostname_in(*text)) {
        system.hostname = *name;
        break;
      }
}

GUESTKIT_INLINE std::optional<InspectedSystem> own_inspection::deployed_on(const std::string& device) {
  std::vector<InspectFailure> failures;
  auto directory = deployments_.default_one();
  if (directory.empty()) directory = deployments_.newest(failures);
  auto system = directory.empty() ? std::nullopt : system_in(device, directory);
  if (!system && !failures.empty()) throw Error("inspect", failures.front().message, EFBIG);
  if (!system) return system;
  system->failures = std::move(failures);
  system->failures.push_back({.part = "mountpoints",
                              .message = "the system is a deployment of ostree, in " + printable(directory) +
                                         " of " + printable(device) +
                                         "; mounted, / is the filesystem around it"});
  return system;
}

GUESTKIT_INLINE std::optional<InspectedSystem> own_inspection::system_of_usr() {
  std::optional<InspectedSystem> best;
  for (const auto& device : usrs_) {
    if (!mount(device)) continue;
    InspectedSystem system{.root = device};
    const auto text = files().text("/lib/os-release");
    if (!text) continue;
    system.os_release = assignments(*text);
    describe(files(), system);
    system.mountpoints = {{"/usr", device}};
    system.filesystems = {device};
    const auto version = [](const InspectedSystem& one) {
      return std::pair(one.major_version, one.minor_version);
    };
    if (!best || version(*best) < version(system)) best = std::move(system);
  }
  if (!best) return best;
  if (bare_roots_.empty()) {
    best->failures.push_back(
        {.part = "mountpoints", .message = "only /usr was found of it, and no filesystem for /"});
    mount(best->root);
    return best;
  }
  const auto usr = best->root;
  best->root = bare_roots_.front();
  best->mountpoints = {{"/", best->root}, {"/usr", usr}};
  best->filesystems = {usr, best->root};
  if (!mount(best->root)) return best;
  behind_root_ = mount_behind_root(g_, best->mountpoints, true, best->failures);
  if (const auto text = files().text("/etc/hostname"))
    best->hostname = hostname_in(*text).value_or(best->hostname);
  return best;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
