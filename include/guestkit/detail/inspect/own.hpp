// guestkit's own look at every filesystem: what would keep inspect_os waiting, and systems that libguestfs
// does not find or cannot tell about, as their os-release says it.
#pragma once

#include <algorithm>
#include <array>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/inspect/fast.hpp"
#include "guestkit/detail/inspect/layout.hpp"
#include "guestkit/detail/inspect/mounts.hpp"
#include "guestkit/detail/inspect/packages.hpp"
#include "guestkit/detail/inspect/parts.hpp"
#include "guestkit/detail/inspect/rules.hpp"
#include "guestkit/detail/inspect/texts.hpp"
#include "guestkit/detail/inspect/tree.hpp"
#include "guestkit/files.hpp"
#include "guestkit/generated/inspection.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Distribution, product and version as os-release says them, where nothing is known of them.
inline void take_release(InspectedSystem& system) {
  const auto& release = system.os_release;
  const auto id = value_or_empty(release, "ID"), known = distro_of(id);
  if (!id.empty()) system.distro = known.empty() ? id : known;
  auto product = value_or_empty(release, "PRETTY_NAME");
  if (product.empty()) product = value_or_empty(release, "NAME");
  if (!product.empty()) system.product_name = product;
  try {
    if (const auto version = version_in(value_or_empty(release, "VERSION_ID"))) {
      system.major_version = version->major;
      system.minor_version = version->minor;
    }
  } catch (const doubt&) {  // too long for a number
  }
}

/// Format and manager of the packages, by what is there.
template <class Guest>
void take_package_format(const guest_tree<Guest>& files, InspectedSystem& system) {
  const auto found = find_database(files, "");
  if (!found) return;
  system.package_format = found->database.format;
  if (system.package_format == "deb") system.package_management = "apt";
  if (system.package_format == "apk" || system.package_format == "pacman")
    system.package_management = system.package_format;
  if (system.package_format != "rpm") return;
  for (const std::string name : {"tdnf", "dnf", "zypper", "yum"})
    if (files.has_file("/usr/bin/" + name)) {
      system.package_management = name;
      return;
    }
}

/// What os-release and the database say in place of what libguestfs does not know; returns what that is.
template <class Guest>
std::vector<std::string> fill_in(const guest_tree<Guest>& files, InspectedSystem& system) {
  if (system.type != "linux" || system.distro != "unknown" || value_or_empty(system.os_release, "ID").empty())
    return {};
  const auto before = system;
  take_release(system);
  if (system.package_format == "unknown") take_package_format(files, system);
  return facts_that_differ(system, before);
}

/// What a boot loader's entries say of ostree.
struct ostree_entry {
  std::int64_t version = 0;  ///< the highest one is the default
  std::string link;          ///< to the deployment
};

inline std::optional<ostree_entry> ostree_entry_in(std::string_view text) {
  ostree_entry entry;
  for (const auto line : lines_of(text)) {
    const auto words = words_of(line);
    if (words.size() > 1 && words[0] == "version") entry.version = number_of(words[1]).value_or(0);
    if (!words.empty() && words[0] == "options")
      for (const auto& word : words)
        if (word.starts_with("ostree=/ostree/")) entry.link = word.substr(7);
  }
  if (entry.link.empty()) return std::nullopt;
  return entry;
}

/// Where boot.ini says that there is a Windows. More than libguestfs takes, rather than less.
inline std::vector<std::string> systemroots_in(std::string_view text) {
  constexpr std::size_t most = 100, longest = 4096;
  std::vector<std::string> roots;
  for (auto line : lines_of(text)) {
    std::string folded;
    for (const char c : line) folded += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    const auto partition = folded.find("partition(");
    const auto begin = partition == std::string::npos ? partition : folded.find(')', partition);
    if (begin == std::string::npos) continue;
    std::string root(line.substr(begin + 1));
    root = root.substr(0, root.find('='));
    std::ranges::replace(root, '\\', '/');
    if (root.starts_with('/') && root.size() <= longest && roots.size() < most) roots.push_back(root);
  }
  return roots;
}

template <class Guest>
class own_inspection {
 public:
  /// Where a system may be that libguestfs does not know.
  struct place {
    std::string device;
    bool is_ostree = false;
    bool is_usr = false;
  };

  own_inspection(Guest& g, layout<Guest>& layout) : g_(g), layout_(layout) {}

  /// Looks at every filesystem.
  void look_around() {
    for (const auto& device : mountable_filesystems(g_, layout_))
      if (mount(device)) look_at(device);
    g_.umount_all();
  }

  /// Why inspect_os must not be asked; empty: it may be.
  const std::string& fault() const noexcept { return fault_; }

  /// On filesystems that belong to no system that is known.
  std::vector<place> places(const std::vector<InspectedSystem>& known) const {
    std::set<std::string> taken;
    for (const auto& system : known) {
      taken.insert(system.root);
      taken.insert(system.filesystems.begin(), system.filesystems.end());
    }
    std::vector<place> all;
    for (const auto& one : places_) {
      // libguestfs may call a subvolume's device by another name.
      const bool is_taken =
          taken.contains(one.device) || (one.device.starts_with("btrfsvol:") && !known.empty());
      if (!is_taken) all.push_back(one);
    }
    if (all.empty() && known.empty() && !usrs_.empty())
      all.push_back({.device = usrs_.front(), .is_usr = true});
    return all;
  }

  /// The system that is there; it is left mounted.
  std::optional<InspectedSystem> read(const place& where) {
    if (where.is_usr) return system_of_usr();
    if (!mount(where.device)) return std::nullopt;
    return where.is_ostree ? deployed_on(where.device) : read_mounted(where.device);
  }

  /// The system on a filesystem that was chosen and is mounted at /, with what its own fstab names.
  std::optional<InspectedSystem> read_chosen(const std::string& device, bool readonly) {
    if (auto system = read_mounted(device, readonly)) return system;
    if (!files().has_directory("/ostree/deploy")) return std::nullopt;
    attempt([&] { read_boot_entries(); });
    return deployed_on(device);
  }

  /// What was mounted beside the root of the system that was read last.
  const mountpoint_list& mounted() const noexcept { return behind_root_; }

 private:
  guest_tree<Guest> files() const { return {g_}; }

  /// The Linux on the filesystem that is mounted at /.
  std::optional<InspectedSystem> read_mounted(const std::string& device, bool readonly = true) {
    fast_inspection<Guest> fast(g_, layout_);
    auto system = fast.read_alone(device, readonly);
    behind_root_ = fast.mounted();
    if (!system) return linux_on(device, readonly);
    const auto beyond_the_rules = [](const auto& failure) { return failure.part == "os_release"; };
    if (std::ranges::none_of(system->failures, beyond_the_rules)) return system;
    add_os_release(files(), *system);
    if (system->os_release.empty()) return system;
    std::erase_if(system->failures, beyond_the_rules);
    take_release(*system);
    if (system->package_format == "unknown") take_package_format(files(), *system);
    return system;
  }

  bool mount(const std::string& device) {
    g_.umount_all();
    return !attempt([&] {
      mount_at(g_, device, "/", true);
      layout_.measure_mounted(device, "/");
    });
  }

  void look_at(const std::string& device) {
    check_windows(device);
    if (const auto fault = fault_for_augeas(g_)) object(device, *fault);
    read_boot_entries();
    if (files().has_directory("/ostree/deploy")) places_.push_back({.device = device, .is_ostree = true});
    bool has_etc = false;
    attempt([&] {
      g_.lstatns("/etc");
      has_etc = true;
    });
    if (has_etc && has_release("")) {
      places_.push_back({.device = device});
    } else if (files().has_directory("/bin") && files().has_file("/lib/os-release")) {
      usrs_.push_back(device);
    } else if (has_etc || is_root_label(layout_.fact(device, "LABEL"))) {
      bare_roots_.push_back(device);
    }
  }

  static bool is_root_label(const std::string& label) { return label == "ROOT" || label == "root"; }

  bool has_release(const std::string& top) {
    const guest_tree<Guest> files{g_, top};
    return files.has_file("/etc/os-release") || files.has_file("/usr/lib/os-release");
  }

  void object(const std::string& device, const std::string& why) {
    if (fault_.empty()) fault_ = "on " + printable(device) + ", " + why;
  }

  /// libguestfs opens the registry of a Windows from outside of the guest's root, and boot.ini, which may say
  /// where that Windows is, without looking at what it is.
  void check_windows(const std::string& device) {
    for (const auto* root : {"/windows", "/winnt", "/win32", "/win", "/reactos"})
      check_registry(device, root);
    const auto file = as_windows_has_it("/boot.ini");
    if (!file) return;
    const auto found = files().look(*file, small_file);
    if (found.kind == FileKind::directory || (!found.obstacle.empty() && found.kind == FileKind::unknown))
      return;  // it cannot be opened
    if (!found.obstacle.empty()) return object(device, found.obstacle);
    const auto text = files().text(*file);
    for (const auto& root : systemroots_in(text.value_or(""))) check_registry(device, root);
  }

  void check_registry(const std::string& device, const std::string& root) {
    const auto directory = as_windows_has_it(root + "/system32/config");
    if (!directory) return;
    for (const std::string name : {"software", "system"}) {
      const auto hive = as_windows_has_it(*directory + "/" + name);
      if (!hive) continue;
      const auto fault = fault_of_path(g_, *hive, FileKind::regular);
      if (fault && !fault->is_missing) object(device, fault->why);
    }
  }

  /// What a path leads to where letters have no case, as libguestfs takes it; nothing where there is none.
  std::optional<std::string> as_windows_has_it(const std::string& path) {
    std::optional<std::string> found;
    attempt([&] {
      auto real = g_.case_sensitive_path(path);
      g_.lstatns(real);
      found = std::move(real);
    });
    return found;
  }

  void read_boot_entries() {
    constexpr std::size_t most = 64;
    for (const std::string directory : {"/loader/entries", "/boot/loader/entries"}) {
      string_list names;
      attempt([&] { names = names_in(g_, directory); });  // too many are none
      for (std::size_t i = 0; i < std::min(most, names.size()); ++i)
        if (names[i].ends_with(".conf"))
          if (const auto text = find_small(g_, joined(directory, names[i])))
            if (auto entry = ostree_entry_in(*text)) entries_.push_back(std::move(*entry));
    }
  }

  /// A Linux that is none to libguestfs, which wants an fstab or hosts that is no link.
  std::optional<InspectedSystem> linux_on(const std::string& device, bool readonly) {
    auto system = system_in(device, "");
    if (!system) return system;
    auto plan = plan_mounts(g_, layout_, device);
    system->mountpoints = std::move(plan.mountpoints);
    system->filesystems = std::move(plan.filesystems);
    system->failures = std::move(plan.failures);
    behind_root_ = mount_behind_root(g_, system->mountpoints, readonly, system->failures);
    return system;
  }

  std::optional<InspectedSystem> system_in(const std::string& device, const std::string& directory) {
    InspectedSystem system{.root = device, .root_directory = directory};
    const guest_tree<Guest> files{g_, directory};
    add_os_release(files, system);
    if (system.os_release.empty()) return std::nullopt;
    describe(files, system);
    system.mountpoints = {{"/", device}};
    system.filesystems = {device};
    return system;
  }

  void describe(const guest_tree<Guest>& files, InspectedSystem& system) {
    for (auto* text : {&system.distro, &system.product_name, &system.product_variant, &system.arch,
                       &system.hostname, &system.package_format, &system.package_management, &system.osinfo})
      *text = "unknown";
    take_release(system);
    system.type = system.distro == "freebsd" ? "freebsd" : "linux";
    take_package_format(files, system);
    for (const auto* program : {"/bin/bash", "/bin/ls", "/bin/sh", "/usr/bin/bash", "/usr/bin/env",
                                "/nix/var/nix/profiles/system/sw/bin/bash"}) {
      if (!files.has_file(program)) continue;
      attempt([&] {
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

  /// ostree keeps systems as directories of a filesystem; the boot loader takes one of them.
  std::optional<InspectedSystem> deployed_on(const std::string& device) {
    auto directory = default_deployment();
    if (directory.empty()) directory = newest_deployment();
    if (directory.empty()) return std::nullopt;
    auto system = system_in(device, directory);
    if (system)
      system->failures.push_back({.part = "mountpoints",
                                  .message = "the system is a deployment of ostree, in " +
                                             printable(directory) + " of " + printable(device) +
                                             "; mounted, / is the filesystem around it"});
    return system;
  }

  std::string default_deployment() {
    auto entries = entries_;
    std::ranges::stable_sort(entries, std::ranges::greater{}, &ostree_entry::version);
    for (const auto& entry : entries) {
      std::string directory;
      attempt([&] { directory = g_.realpath(entry.link); });
      if (directory.starts_with("/ostree/deploy/") && has_release(directory)) return directory;
    }
    return {};
  }

  std::string newest_deployment() {
    const std::string deploy = "/ostree/deploy";
    std::string newest;
    std::int64_t time = 0;
    for (const auto& name : names_in(g_, deploy)) {
      const auto directory = joined(joined(deploy, name), "deploy");
      for (const auto& deployment : names_in(g_, directory)) {
        const auto path = joined(directory, deployment);
        std::int64_t made = 0;
        if (deployment.ends_with(".origin") || !has_release(path)) continue;
        attempt([&] { made = g_.statns(path + ".origin").st_mtime_sec; });
        if (!newest.empty() && made < time) continue;
        newest = path;
        time = made;
      }
    }
    return newest;
  }

  /// A system whose files are all in /usr, and whose root may be empty until it boots: that of the highest
  /// version, if there are several.
  std::optional<InspectedSystem> system_of_usr() {
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

  Guest& g_;
  layout<Guest>& layout_;
  std::vector<place> places_;
  std::vector<std::string> usrs_, bare_roots_;
  std::vector<ostree_entry> entries_;
  std::string fault_;
  mountpoint_list behind_root_;
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail
