#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "guestkit/detail/base/error_of.hpp"
#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/base/lines.hpp"
#include "guestkit/detail/files/reading.hpp"
#include "guestkit/detail/inspect/configuration.hpp"
#include "guestkit/detail/inspect/parts.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE void add_os_release(const guest_tree& files, InspectedSystem& system) {
  for (const auto* path : {"/etc/os-release", "/usr/lib/os-release"})
    if (const auto text = files.text(path)) {
      system.os_release = assignments(*text);
      return;
    }
}

/// The text of a part's file. If something else is in its place, that is reported.
inline std::optional<std::string> text_for(const char* part, const guest_tree& files, const std::string& path,
                                           InspectedSystem& system) {
  const auto found = files.look(path, small_file);
  if (found.is_usable()) return files.text(path);
  if (found.kind != FileKind::unknown) system.failures.push_back({.part = part, .message = found.obstacle});
  return std::nullopt;
}

/// How much the report contains of a list that a guest can make arbitrarily long. A reader may stop after
/// that.
inline constexpr std::size_t most_told = 10'000;

/// Cuts a list of names, since a guest can make a million, and each costs some messages.
/// @param things  what has these names
inline void read_few(string_list& names, const std::string& directory, const char* things, const char* part,
                     InspectedSystem& system) {
  constexpr std::size_t most = 1000;
  if (names.size() <= most) return;
  system.failures.push_back({.part = part,
                             .message = printable(directory) + ": of " + std::to_string(names.size()) + " " +
                                        things + ", at most " + std::to_string(most) + " are read"});
  names.resize(most);
}

template <class List>
void cut_short(List& list, const char* part, InspectedSystem& system) {
  if (list.size() <= most_told) return;
  system.failures.push_back({.part = part,
                             .message = std::to_string(list.size() - most_told) +
                                        " or more were left out: more than " + std::to_string(most_told) +
                                        " are not told"});
  list.resize(most_told);
}

inline void add_users(const guest_tree& files, InspectedSystem& system) {
  system.users = users_of(read_small(files.g, files.path("/etc/passwd")));
  cut_short(system.users, "users", system);
}

inline void add_kernels(const guest_tree& files, InspectedSystem& system) {
  auto modules = files.names("/lib/modules");
  if (modules.empty()) modules = files.names("/usr/lib/modules");
  system.kernels = kernels_of(modules, files.names("/boot"));
  cut_short(system.kernels, "kernels", system);
}

/// systemd units wanted by some target, SysV links of the usual runlevel, OpenRC's default level.
inline void add_services(const guest_tree& files, InspectedSystem& system) {
  std::vector<std::string> found;
  const std::string units = "/etc/systemd/system";
  auto directories = files.names(units);
  std::erase_if(directories,
                [](const auto& name) { return !name.ends_with(".wants") && !name.ends_with(".requires"); });
  read_few(directories, files.path(units), "directories", "services", system);
  for (const auto& directory : directories)
    if (found.size() <= most_told)
      for (auto& unit : files.names(joined(units, directory)))
        if (unit.ends_with(".service") || unit.ends_with(".socket") || unit.ends_with(".timer"))
          found.push_back(std::move(unit));
  for (const auto* level : {"/etc/rc3.d", "/etc/rc.d/rc3.d", "/etc/init.d/rc3.d"})
    for (const auto& name : files.names(level))
      if (name.size() > 3 && name[0] == 'S') found.push_back(name.substr(3));
  for (auto& name : files.names("/etc/runlevels/default")) found.push_back(std::move(name));
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  system.services = std::move(found);
  cut_short(system.services, "services", system);
}

/// Whether it is a copy that an editor or a package manager has left.
inline bool is_copy(std::string_view name) {
  constexpr std::array<std::string_view, 8> copies{"~",    ".bak",    ".old",     ".orig",
                                                   ".rej", ".rpmnew", ".rpmorig", ".rpmsave"};
  return std::ranges::any_of(copies, [&](auto end) { return name.ends_with(end); });
}

inline bool is_ifcfg(std::string_view name) {
  return name.starts_with("ifcfg-") && !is_copy(name);
}

/// Whether it may be a profile of NetworkManager's by its name, which needs no suffix.
inline bool may_be_profile(std::string_view name) {
  return !name.starts_with('.') && !name.ends_with(".pem") && !name.ends_with(".der") && !is_copy(name);
}

/// Whether it is a profile of NetworkManager's: beside these may lie notes, keys and certificates.
inline bool is_profile(std::string_view text) {
  if (text.find('\0') != std::string_view::npos) return false;
  return std::ranges::any_of(sections(text),
                             [](const auto& section) { return section.first == "connection"; });
}

inline void add_network(const guest_tree& files, InspectedSystem& system) {
  auto& all = system.network;
  std::size_t left = small_file;  // in bytes: links to one file can multiply what is on the disk
  const auto add_all = [&](std::vector<InspectedInterface> more) {
    std::move(more.begin(), more.end(), std::back_inserter(all));
  };
  const auto each = [&](const std::string& directory, auto&& wanted, auto&& read) {
    auto names = files.names(directory);
    std::erase_if(names, [&](const auto& name) { return !wanted(name); });
    read_few(names, files.path(directory), "files", "network", system);
    for (const auto& name : names) {
      if (all.size() > most_told) return;
      const auto path = joined(directory, name);
      const auto text = files.text(path);
      if (!text) continue;
      if (text->size() > left) {
        left = 0;
        return system.failures.push_back({.part = "network",
                                          .message = printable(files.path(directory)) + ": files beyond " +
                                                     std::to_string(small_file >> 20U) +
                                                     " MiB of settings were left out"});
      }
      left -= text->size();
      read(*text, path);
    }
  };
  const auto ending = [](const char* suffix) {
    return [suffix](const std::string& name) { return name.ends_with(suffix); };
  };
  if (const auto text = text_for("network", files, "/etc/network/interfaces", system)) {
    left -= text->size();
    add_all(ifupdown(*text, "/etc/network/interfaces"));
  }
  each(
      "/etc/network/interfaces.d", [](const std::string&) { return true; },
      [&](const auto& text, const auto& path) { add_all(ifupdown(text, path)); });
  for (const auto* directory : {"/etc/sysconfig/network-scripts", "/etc/sysconfig/network"})
    each(directory, is_ifcfg, [&](const auto& text, const auto& path) { all.push_back(ifcfg(text, path)); });
  each("/etc/NetworkManager/system-connections", may_be_profile, [&](const auto& text, const auto& path) {
    if (is_profile(text)) all.push_back(network_manager(text, path));
  });
  each("/etc/systemd/network", ending(".network"),
       [&](const auto& text, const auto& path) { all.push_back(networkd(text, path)); });
  each("/etc/netplan", ending(".yaml"), [&](const auto&, const auto& path) {
    system.failures.push_back(
        {.part = "network", .message = printable(path) + ": guestkit does not read netplan's YAML"});
  });
  cut_short(all, "network", system);
}

inline void add_locale(const guest_tree& files, InspectedSystem& system) {
  if (const auto text = text_for("locale", files, "/etc/timezone", system))
    system.timezone = first_line(*text);
  if (system.timezone.empty())
    error_of([&] { system.timezone = zone_of_link(link_target(files.g, files.path("/etc"), "localtime")); });
  for (const auto* path : {"/etc/locale.conf", "/etc/default/locale", "/etc/sysconfig/i18n"}) {
    const auto text = text_for("locale", files, path, system);
    if (!text) continue;
    system.locale = value_or_empty(assignments(*text), "LANG");
    if (!system.locale.empty()) return;
  }
}

inline void add_machine_id(const guest_tree& files, InspectedSystem& system) {
  for (const auto* path : {"/etc/machine-id", "/var/lib/dbus/machine-id"}) {
    const auto text = text_for("machine_id", files, path, system);
    const auto id = text ? first_line(*text) : std::string();
    // An image that has not been started yet may say "uninitialized".
    if (id.size() != 32 || id.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos) continue;
    system.machine_id = id;
    return;
  }
}

GUESTKIT_INLINE void add_parts(const guest_tree& files, InspectPart wanted, InspectedSystem& system,
                               part_runner& run) {
  const bool has_files = system.type != "windows" && system.type != "dos";
  const auto part = [&](InspectPart which, const char* name, auto&& add) {
    if (!has(wanted, which)) return;
    if (has_files)
      run(system.failures, name, [&] { add(files, system); });
    else
      system.failures.push_back({.part = name, .message = "not known for a guest of type " + system.type});
  };
  part(InspectPart::users, "users", add_users);
  part(InspectPart::kernels, "kernels", add_kernels);
  part(InspectPart::services, "services", add_services);
  part(InspectPart::network, "network", add_network);
  part(InspectPart::locale, "locale", add_locale);
  part(InspectPart::machine_id, "machine_id", add_machine_id);
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
