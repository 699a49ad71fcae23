#pragma once

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/files/tree.hpp"
#include "guestkit/detail/inspect/device_names.hpp"
#include "guestkit/detail/inspect/guest_mounting.hpp"
#include "guestkit/detail/inspect/inspection.hpp"
#include "guestkit/detail/inspect/keys.hpp"
#include "guestkit/detail/inspect/layout.hpp"
#include "guestkit/detail/inspect/layout_description.hpp"
#include "guestkit/detail/inspect/mount_plan.hpp"
#include "guestkit/detail/inspect/mounts.hpp"
#include "guestkit/detail/inspect/own.hpp"
#include "guestkit/detail/inspect/parts.hpp"
#include "guestkit/error.hpp"
#include "guestkit/guest.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

class guest_mounting {
 public:
  guest_mounting(guest_actions& g, const MountOptions& options) : g_(g), options_(options) {}

  MountedGuest run() { return options_.root ? mount_chosen(*options_.root) : mount_found(); }

 private:
  void step(const char* what) const {
    if (options_.step) options_.step(what);
  }

  void mount_root(const std::string& device) {
    step("mounting");
    g_.umount_all();
    mount_at(g_, device, "/", options_.readonly);
    if (const auto fault = options_.readonly ? std::nullopt : read_only_fault(g_, device, "/")) {
      g_.umount_all();
      throw Error(*fault);
    }
    mounted_.root = device;
    mounted_.mountpoints = {{"/", device}};
  }

  /// Examines only that filesystem and those named in its fstab.
  MountedGuest mount_chosen(const std::string& name) {
    layout layout(g_);
    g_.umount_all();
    layout.unlock(readable_keys(g_, options_.keys));
    mount_root(device_of(name, layout));
    own_inspection own(g_, layout);
    mounted_.system = own.read_chosen(mounted_.root, options_.readonly);
    if (!mounted_.system) return std::move(mounted_);
    if (mounted_.system->os_release.empty()) add_os_release(guest_tree{g_}, *mounted_.system);
    add_mounted(own.mounted());
    take_failures();
    return std::move(mounted_);
  }

  std::string device_of(const std::string& name, layout& layout) {
    const auto devices = layout.candidates();
    if (name.starts_with("btrfsvol:") || std::find(devices.begin(), devices.end(), name) != devices.end())
      return name;
    const auto found = device_names(g_, layout, {}).find(name);
    if (found.is_known()) return found.devices.front();
    refuse(printable(name) + ": " + (found.why.empty() ? "no such filesystem" : found.why),
           described(layout));
  }

  MountedGuest mount_found() {
    const InspectOptions finding{
        .parts = InspectPart::filesystems, .keys = readable_keys(g_, options_.keys), .step = options_.step};
    auto found = inspect(g_, finding);
    auto& systems = found.operating_systems;
    if (systems.size() > 1) {
      std::string names;
      for (const auto& one : systems)
        names += (names.empty() ? "" : ", ") + printable(one.root) + " (" + printable(one.product_name) + ")";
      throw Error("mount_guest", "there are several operating systems: " + names, EINVAL, root_unclear());
    }
    if (systems.empty()) {
      mount_root(only_filesystem(found));
      return std::move(mounted_);
    }
    mount_root(systems.front().root);
    mounted_.system = std::move(systems.front());
    take_failures();
    std::vector<InspectFailure> again;
    auto places = mounted_.system->mountpoints;
    // Only a part of the system was found, without a root: mount that part at /.
    if (places.empty() || places.front().first != "/") places.clear();
    add_mounted(mount_behind_root(g_, places, options_.readonly, again));
    for (auto& one : again)
      if (std::none_of(mounted_.failures.begin(), mounted_.failures.end(),
                       [&](const auto& known) { return known.message == one.message; }))
        mounted_.failures.push_back(std::move(one));
    return std::move(mounted_);
  }

  void add_mounted(const mountpoint_list& more) {
    mounted_.mountpoints.insert(mounted_.mountpoints.end(), more.begin(), more.end());
  }

  void take_failures() {
    for (const auto& one : mounted_.system->failures)
      if (one.part == "mountpoints") mounted_.failures.push_back(one);
  }

  Inspection described(layout& layout) {
    Inspection found;
    describe_layout(g_, layout, found);
    return found;
  }

  static std::string only_filesystem(const Inspection& found) {
    string_list usable;
    for (const auto& one : found.filesystems)
      if (one.type != "swap" && one.type != "unknown") usable.push_back(one.device);
    if (usable.size() == 1 && found.unopened.empty()) return usable.front();
    refuse("no operating system was found", found);
  }

  static Diagnosis root_unclear() { return {Cause::root_unclear, "choose one of them as the root"}; }

  /// Throws an error that lists what cannot be opened, and what could be mounted instead.
  [[noreturn]] static void refuse(std::string message, const Inspection& found) {
    std::string names;
    for (const auto& one : found.filesystems)
      if (one.type != "swap" && one.type != "unknown")
        names += (names.empty() ? "" : ", ") + printable(one.device) + " (" + printable(one.type) + ")";
    Diagnosis diagnosis;
    for (const auto& one : found.unopened) {
      message += "; " + printable(one.device) + " is " + one.reason + ": " + printable(one.message);
      if (one.reason == "encrypted") diagnosis = {Cause::key_needed, "give its key (keys)"};
      if (one.reason == "short of memory")
        diagnosis = {Cause::memory, "give the appliance more memory: set_memsize, or LIBGUESTFS_MEMSIZE"};
      if (one.reason == "incomplete")
        diagnosis = {Cause::disks_incomplete, "give all disks of the guest together"};
    }
    message +=
        names.empty() ? "; there is no filesystem that can be mounted" : "; the filesystems are " + names;
    throw Error("mount_guest", message, ENOENT, names.empty() ? std::move(diagnosis) : root_unclear());
  }

  guest_actions& g_;
  const MountOptions& options_;
  MountedGuest mounted_;
};

GUESTKIT_INLINE MountedGuest mount_guest(guest_actions& g, const MountOptions& options) {
  return guest_mounting(g, options).run();
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
