#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "guestkit/detail/base/error_of.hpp"
#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/base/text.hpp"
#include "guestkit/detail/files/reading.hpp"
#include "guestkit/detail/files/tree.hpp"
#include "guestkit/detail/inspect/package_rules.hpp"
#include "guestkit/detail/inspect/registry_fault.hpp"
#include "guestkit/detail/inspect/report.hpp"
#include "guestkit/detail/inspect/rules.hpp"
#include "guestkit/detail/inspect/system.hpp"
#include "guestkit/detail/inspect/untrusted_bytes.hpp"
#include "guestkit/detail/inspect/windows_rules.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// The first version with known rules that tells the build, and Windows 11 and Server 2025 by it.
inline constexpr libguestfs_version tells_windows_builds{1, 54, 1};

/// The first one that does not fail on a disk without a partition table when it looks for that of a drive.
inline constexpr libguestfs_version passes_blank_disks{1, 60, 1};

/// The first one that lists Windows' own antivirus among the programs.
inline constexpr libguestfs_version lists_defender{1, 60, 1};

GUESTKIT_INLINE bool may_be_windows(const std::set<std::string>& names) {
  return names.contains("boot.ini") ||
         std::ranges::any_of(systemroots, [&](const auto* name) { return names.contains(name); });
}

GUESTKIT_INLINE std::optional<windows_place> find_windows(guest_actions& g,
                                                          const std::set<std::string>& names) {
  for (const std::string name : systemroots) {
    if (!names.contains(name)) continue;
    const auto config = as_windows_has_it(g, "/" + name + "/system32/config");
    const auto program = config ? as_windows_has_it(g, "/" + name + "/system32/cmd.exe") : std::nullopt;
    if (!program) continue;
    // libguestfs follows links in the directories, even to outside the guest.
    for (const auto& [path, kind] :
         {std::pair(*config, FileKind::directory), std::pair(*program, FileKind::regular)})
      if (const auto fault = fault_of_path(g, path, kind)) throw doubt{fault->why};
    return windows_place{
        .systemroot = config->substr(0, config->find('/', 1)), .registry = *config, .program = *program};
  }
  if (names.contains("boot.ini")) throw doubt{"a boot.ini without a Windows at one of the usual places"};
  return std::nullopt;
}

GUESTKIT_INLINE std::string pe_architecture(std::string_view start) {
  const untrusted_bytes bytes{std::string(start)};
  constexpr std::size_t coff_size = 24;
  // Some versions of file(1) take a program for one of DOS if its relocations come earlier.
  if (bytes.bytes(0, 2) != "MZ" || bytes.le16(24) < 64)
    throw doubt{"a cmd.exe that is no program of Windows"};
  const std::size_t head = bytes.le32(60);
  if (bytes.bytes(head, 4) != std::string_view("PE\0\0", 4)) throw doubt{"a cmd.exe of an unknown form"};
  const auto magic = bytes.le16(head + coff_size);
  if (magic == 0x10B) return "i386";
  if (magic == 0x20B) return "x86_64";
  throw doubt{"a cmd.exe of an unknown form"};
}

GUESTKIT_INLINE std::string windows_osinfo(const InspectedSystem& system,
                                           const libguestfs_version& libguestfs) {
  const bool is_newer = libguestfs >= tells_windows_builds;
  const auto named = [&](const char* part) { return system.product_name.find(part) != std::string::npos; };
  const bool is_server = system.product_variant.find("Server") != std::string::npos;
  const std::pair version(system.major_version, system.minor_version);
  if (version == std::pair(5, 1)) return "winxp";
  if (version == std::pair(5, 2)) return named("XP") ? "winxp" : named("R2") ? "win2k3r2" : "win2k3";
  if (version == std::pair(6, 0)) return is_server ? "win2k8" : "winvista";
  if (version == std::pair(6, 1)) return is_server ? "win2k8r2" : "win7";
  if (version == std::pair(6, 2)) return is_server ? "win2k12" : "win8";
  if (version == std::pair(6, 3)) return is_server ? "win2k12r2" : "win8.1";
  if (version != std::pair(10, 0)) return "unknown";
  if (is_server) {
    if (is_newer && named("2025")) return "win2k25";
    return named("2022") ? "win2k22" : named("2019") ? "win2k19" : "win2k16";
  }
  if (!is_newer) return "win10";
  const auto build = number_of(system.build_id);
  if (!build || *build < 0) throw doubt{"a Windows without a build number"};
  return *build >= 22000 ? "win11" : "win10";
}

GUESTKIT_INLINE std::string guid_in_mounted_device(std::string_view data) {
  constexpr std::array<std::size_t, 16> order{3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
  std::string guid;
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) guid += '-';
    append_hex(guid, static_cast<std::uint8_t>(data[8 + order[i]]));
  }
  return guid;
}

/// A registry in a guest's file.
class hive_file {
 public:
  hive_file(guest_actions& g, const std::string& path)
      : file_(g, path, size_of(g, path), most_of_hive, part_of_hive), hive_(file_) {}

  registry_hive& hive() noexcept { return hive_; }

 private:
  static std::uint64_t size_of(guest_actions& g, const std::string& path) {
    std::optional<StatNS> status;
    error_of([&] { status = g.lstatns(path); });
    if (!status || kind_of(status->st_mode) != FileKind::regular)
      throw doubt{"a registry that is no regular file"};
    return static_cast<std::uint64_t>(status->st_size);
  }

  partial_guest_file file_;
  registry_hive hive_;
};

/// Reads what libguestfs reads, where it fails if something there has another type.
class windows_reader {
 public:
  windows_reader(guest_actions& g, layout& layout, InspectedSystem& system, libguestfs_version libguestfs)
      : g_(g), layout_(layout), system_(system), libguestfs_(libguestfs) {}

  void read_software(registry_hive& hive) {
    const auto key = hive.find({"Microsoft", "Windows NT", "CurrentVersion"});
    if (!key) throw doubt{"a registry without a version of Windows"};
    const auto values = hive.values(*key);
    system_.product_name = text(hive, values, "ProductName");
    const auto *major = value_named(values, "CurrentMajorVersionNumber"),
               *minor = value_named(values, "CurrentMinorVersionNumber");
    if (major != nullptr && minor != nullptr) {
      system_.major_version = number(hive, *major);
      system_.minor_version = number(hive, *minor);
    } else {
      const auto version = version_in(text(hive, values, "CurrentVersion"));
      if (!version) throw doubt{"a registry without a version of Windows"};
      system_.major_version = version->major;
      system_.minor_version = version->minor;
    }
    system_.product_variant = text(hive, values, "InstallationType");
    if (libguestfs_ >= tells_windows_builds) system_.build_id = text(hive, values, "CurrentBuildNumber");
    system_.osinfo = windows_osinfo(system_, libguestfs_);
  }

  void read_host(registry_hive& hive) {
    const auto select = hive.find({"Select"});
    const auto values = select ? hive.values(*select) : std::vector<registry_value>();
    const auto* current = value_named(values, "Current", true);
    if (current == nullptr) return;
    const auto digits = std::to_string(number(hive, *current));
    const auto set = "ControlSet" + std::string(digits.size() < 3 ? 3 - digits.size() : 0, '0') + digits;
    system_.windows->current_control_set = set;
    if (const auto key = hive.find({set, "Services", "Tcpip", "Parameters"}))
      system_.hostname = text(hive, hive.values(*key), "Hostname");
  }

  void read_drives(registry_hive& hive) {
    constexpr std::string_view prefix = "\\dosdevices\\";
    const auto key = hive.find({"MountedDevices"});
    if (!key) return;
    for (const auto& value : hive.values(*key)) {
      const std::string_view name = value.name;
      if (name.size() < prefix.size() + 2 || !is_same_name(name.substr(0, prefix.size()), prefix) ||
          name[prefix.size() + 1] != ':')
        continue;
      const char letter = name[prefix.size()];
      if ((letter < 'A' || letter > 'Z') && (letter < 'a' || letter > 'z')) continue;
      const auto data = hive.data(value);
      if (value.type != registry_value::binary) continue;
      std::string device;
      if (data.size() >= 24 && data.starts_with("DMIO:ID:"))
        device = gpt_partition(guid_in_mounted_device(data));
      else if (data.size() == 12)
        device = mbr_partition(data);
      if (!device.empty() && !system_.drive_mappings.emplace(std::string(1, letter), device).second)
        throw doubt{"a registry with a drive letter twice"};
    }
  }

 private:
  static std::string text(registry_hive& hive, const std::vector<registry_value>& values,
                          std::string_view name) {
    const auto* value = value_named(values, name);
    if (value == nullptr) return "unknown";
    if (auto found = hive.text(*value)) return *found;
    throw doubt{"a registry whose " + std::string(name) + " is no text"};
  }

  static int number(registry_hive& hive, const registry_value& value) {
    constexpr std::uint32_t most = 1'000'000;
    const auto found = hive.number(value);
    if (!found || *found > most) throw doubt{"a registry whose " + value.name + " is no usual number"};
    return static_cast<int>(*found);
  }

  std::string gpt_partition(const std::string& guid) {
    for (const auto& partition : layout_.partitions())
      if (layout_.fact(partition, "PART_ENTRY_SCHEME") == "gpt" &&
          layout_.fact(partition, "PART_ENTRY_UUID") == guid)
        return partition;
    return "";
  }

  std::string mbr_partition(const std::string& data) {
    constexpr std::int64_t signature_at = 0x1B8;
    constexpr std::uint64_t sector = 512;
    const untrusted_bytes bytes(data);
    const auto begin = bytes.little(4, 8);
    const auto is_signed = [&](const std::string& disk) {
      return g_.pread_device(disk, 4, signature_at).view() == bytes.bytes(0, 4);
    };
    for (const auto& disk : layout_.disks()) {
      if (!layout_.is_partitioned(disk)) {
        if (libguestfs_ < passes_blank_disks || is_signed(disk))
          throw doubt{"drive letters, and a disk without partitions"};
        continue;
      }
      std::string found;
      bool has_mbr = true;
      for (const auto& partition : layout_.partitions()) {
        if (layout_.disk_of(partition) != disk) continue;
        has_mbr = has_mbr && layout_.fact(partition, "PART_ENTRY_SCHEME") == "dos";
        const auto start = number_of(layout_.fact(partition, "PART_ENTRY_OFFSET"));
        if (found.empty() && start && *start >= 0 && begin % sector == 0 &&
            static_cast<std::uint64_t>(*start) == begin / sector)
          found = partition;
      }
      if (has_mbr && is_signed(disk)) return found;
    }
    return "";
  }

  guest_actions& g_;
  layout& layout_;
  InspectedSystem& system_;
  libguestfs_version libguestfs_;
};

GUESTKIT_INLINE std::string told_damage(const std::string& file, const std::string& reason,
                                        const std::string& cost) {
  return excerpt(file) + " is damaged or unusual (" + reason + "), which costs what is unknown here of " +
         cost + "; if Windows does not start either, restore the file from a backup";
}

/// @param part  is called with what reads a part of the system: the part's name, the file, what else is lost
///     without it, and the function
template <class Part>
InspectedSystem windows_by_parts(guest_actions& g, layout& layout, const std::string& root,
                                 const windows_place& place, const libguestfs_version& libguestfs,
                                 const Part& part) {
  constexpr int longest_head = 4096;
  InspectedSystem system{.root = root, .type = "windows"};
  set_unknown(system);
  system.distro = "windows";
  system.mountpoints = {{"/", root}};
  system.filesystems = {root};
  system.windows = {.systemroot = place.systemroot};
  windows_reader reader(g, layout, system, libguestfs);
  part("arch", place.program, "the architecture",
       [&] { system.arch = pe_architecture(g.pread(place.program, longest_head, 0).view()); });
  string_list names;
  const auto unlisted = error_of([&] { names = names_in(g, place.registry); });
  /// The hive as its name is written; nothing unless there is exactly one.
  const auto path_of = [&](std::string_view hive) -> std::optional<std::string> {
    const auto is_it = [&](const auto& name) { return is_same_name(name, hive); };
    if (std::ranges::count_if(names, is_it) != 1) return std::nullopt;
    return joined(place.registry, *std::ranges::find_if(names, is_it));
  };
  const auto with_hive = [&](const char* name, const std::string& hive, const char* cost, auto&& read) {
    const auto path = path_of(hive);
    const auto told = path.value_or(joined(place.registry, hive));
    part(name, told, cost, [&] {
      if (unlisted) throw Error(*unlisted);
      if (!path) throw doubt{"a Windows without one " + hive};
      read(*path);
    });
  };
  with_hive("product_name", "software", "product and version", [&](const std::string& path) {
    system.windows->software_hive = path;
    reader.read_software(hive_file(g, path).hive());
  });
  with_hive("hostname", "system", "host name and drive letters", [&](const std::string& path) {
    system.windows->system_hive = path;
    hive_file opened(g, path);
    part("drive_mappings", path, "the drive letters", [&] { reader.read_drives(opened.hive()); });
    reader.read_host(opened.hive());
  });
  return system;
}

GUESTKIT_INLINE InspectedSystem read_windows(guest_actions& g, layout& layout, const std::string& root,
                                             const windows_place& place,
                                             const libguestfs_version& libguestfs) {
  const auto at_once = [](const char*, const std::string&, const char*, auto&& read) { read(); };
  return windows_by_parts(g, layout, root, place, libguestfs, at_once);
}

GUESTKIT_INLINE InspectedSystem read_windows_alone(guest_actions& g, layout& layout, const std::string& root,
                                                   const windows_place& place,
                                                   const libguestfs_version& libguestfs) {
  std::vector<InspectFailure> failures;
  const auto as_far_as_possible = [&](const char* name, const std::string& file, const char* cost,
                                      auto&& read) {
    const auto error = error_of(read, [&](const std::string& reason) {
      failures.push_back({.part = name, .message = told_damage(file, reason, cost)});
    });
    if (!error) return;
    failures.push_back(failure(name, *error));
    failures.back().message = told_damage(file, failures.back().message, cost);
  };
  // What older versions of libguestfs refuse need not be refused here: they have no answer.
  const auto rules = std::max(libguestfs, passes_blank_disks);
  auto system = windows_by_parts(g, layout, root, place, rules, as_far_as_possible);
  system.failures = std::move(failures);
  return system;
}

/// Whether the registry has Windows' own antivirus, and does not say that it is switched off.
inline bool has_defender(registry_hive& software) {
  const auto key = software.find({"Microsoft", "Windows Defender"});
  if (!key) return false;
  const auto values = software.values(*key);
  const auto* off = value_named(values, "DisableAntiVirus", true);
  return off == nullptr || !software.data(*off).starts_with(std::string_view("\1\0\0\0", 4));
}

GUESTKIT_INLINE std::vector<InspectedApplication> windows_applications(registry_hive& software,
                                                                       const libguestfs_version& libguestfs) {
  constexpr std::size_t most = 10'000;
  std::vector<InspectedApplication> all;
  const auto add = [&](const std::optional<registry_key>& uninstall) {
    if (!uninstall) return;
    if (uninstall->subkeys > most) throw doubt{"more than " + std::to_string(most) + " programs"};
    software.each_child(*uninstall, [&](const registry_key& key) {
      const auto values = software.values(key);
      const auto text = [&](std::string_view name) {
        const auto* value = value_named(values, name, true);
        return value == nullptr ? std::nullopt : software.text(*value);
      };
      const auto shown = text("DisplayName");
      if (!shown) return;
      all.push_back({.name = key.name,
                     .display_name = *shown,
                     .version = text("DisplayVersion").value_or(""),
                     .install_path = text("InstallLocation").value_or(""),
                     .publisher = text("Publisher").value_or(""),
                     .url = text("URLInfoAbout").value_or(""),
                     .description = text("Comments").value_or("")});
    });
  };
  add(software.find({"Microsoft", "Windows", "CurrentVersion", "Uninstall"}));
  add(software.find({"WOW6432node", "Microsoft", "Windows", "CurrentVersion", "Uninstall"}));
  if (libguestfs >= lists_defender && has_defender(software))
    all.push_back({.name = "WinDefend",
                   .display_name = "Microsoft Defender Antivirus",
                   .publisher = "Microsoft Corporation"});
  sort_by_name(all);
  return all;
}

GUESTKIT_INLINE std::vector<InspectedApplication> windows_applications(guest_actions& g,
                                                                       const std::string& software) {
  hive_file file(g, software);
  return windows_applications(file.hive(), numbers_of(g.version()));
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
