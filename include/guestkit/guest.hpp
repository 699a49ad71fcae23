// A guest's files without inspecting and mounting by hand: mount_guest().
//
// Names of files and their content are the guest's: hostile. Needs libguestfs 1.44 where it is used.
#pragma once

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/inspect.hpp"

namespace guestkit::inline GUESTKIT_FORM {

struct MountOptions {
  /// The filesystem that becomes /: a device of the appliance, or a name such as UUID=… that stands for one.
  /// None: that of the only operating system, else the only filesystem.
  std::optional<std::string> root = {};
  bool readonly = true;
  std::vector<InspectKey> keys = {};  ///< for encrypted disks
  /// Told what is being done now, on the calling thread; it must not throw.
  std::function<void(const char* step)> step = {};
};

namespace detail {

template <class Guest>
class guest_mounting {
 public:
  guest_mounting(Guest& g, const MountOptions& options) : g_(g), options_(options) {}

  MountedGuest run() { return options_.root ? mount_chosen(*options_.root) : mount_found(); }

 private:
  void step(const char* what) const {
    if (options_.step) options_.step(what);
  }

  void mount_root(const std::string& device) {
    step("mounting");
    g_.umount_all();
    mount_at(g_, device, "/", options_.readonly);
    mounted_.root = device;
    mounted_.mountpoints = {{"/", device}};
  }

  /// Only that filesystem is looked at, and what its own fstab names.
  MountedGuest mount_chosen(const std::string& name) {
    layout<Guest> layout(g_);
    g_.umount_all();
    layout.unlock(readable_keys(g_, options_.keys));
    mount_root(device_of(name, layout));
    own_inspection<Guest> own(g_, layout);
    mounted_.system = own.read_chosen(mounted_.root, options_.readonly);
    if (!mounted_.system) return std::move(mounted_);
    if (mounted_.system->os_release.empty()) add_os_release(guest_tree<Guest>{g_}, *mounted_.system);
    add_mounted(own.mounted());
    take_failures();
    return std::move(mounted_);
  }

  std::string device_of(const std::string& name, layout<Guest>& layout) {
    const auto devices = layout.candidates();
    if (name.starts_with("btrfsvol:") || std::find(devices.begin(), devices.end(), name) != devices.end())
      return name;
    const auto found = device_names<Guest>(g_, layout, {}).find(name);
    if (found.is_known()) return found.devices.front();
    throw Error("mount_guest",
                printable(name) + (found.why.empty() ? "" : ": " + found.why) + ": choose a root of " +
                    choices(described(layout)),
                ENOENT);
  }

  MountedGuest mount_found() {
    const InspectOptions inspect{
        .parts = InspectPart::filesystems, .keys = options_.keys, .step = options_.step};
    auto found = inspection<Guest>(g_, inspect).run({});
    auto& systems = found.operating_systems;
    if (systems.size() > 1) {
      std::string names;
      for (const auto& one : systems)
        names += (names.empty() ? "" : ", ") + printable(one.root) + " (" + printable(one.product_name) + ")";
      throw Error("mount_guest", "there are several operating systems: choose a root of " + names, EINVAL);
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
    // A system without a root: what was found of it is mounted at /.
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

  static Inspection described(layout<Guest>& layout) {
    Inspection found;
    layout.describe(found);
    return found;
  }

  static std::string only_filesystem(const Inspection& found) {
    string_list usable;
    for (const auto& one : found.filesystems)
      if (one.type != "swap" && one.type != "unknown") usable.push_back(one.device);
    if (usable.size() == 1 && found.unopened.empty()) return usable.front();
    throw Error("mount_guest", "no operating system was found: choose a root of " + choices(found), ENOENT);
  }

  static std::string choices(const Inspection& found) {
    std::string names;
    for (const auto& one : found.filesystems)
      if (one.type != "swap" && one.type != "unknown")
        names += (names.empty() ? "" : ", ") + printable(one.device) + " (" + printable(one.type) + ")";
    for (const auto& one : found.unopened)
      names += (names.empty() ? "none" : "") + ("; " + printable(one.device)) + " is " + one.reason + ": " +
               printable(one.message);
    return "the filesystems, " + (names.empty() ? "none" : names);
  }

  Guest& g_;
  const MountOptions& options_;
  MountedGuest mounted_;
};

}  // namespace detail

/// Mount a guest's filesystems as its operating system would, on a handle that was launched; whatever is
/// mounted is unmounted before.
///
///     guestkit::Guestfs g;
///     g.open_disk("web.qcow2");
///     g.launch();
///     guestkit::mount_guest(g);
///     std::cout << g.read_file("/etc/fstab").view();
///
/// With a root only that filesystem is looked at, and what its own fstab names; where it holds no operating
/// system it is mounted alone. What cannot be mounted beside / is told in the result. No guest's mountpoint
/// leads out of the guest: one with `..` or with a symlink on its way is not mounted.
///
/// One call for the limits: Limits::call is the time for all of it. Throws Error that names what there is to
/// choose from.
template <class Core, class Guest = detail::borrowed<>>
MountedGuest mount_guest(basic_guestfs<Core>& g, const MountOptions& options = {}) {
  Guest guest(state_of(g));
  const detail::call_scope scope(guest.state(), "mount_guest");
  return detail::guest_mounting<Guest>(guest, options).run();
}

}  // namespace guestkit::inline GUESTKIT_FORM
