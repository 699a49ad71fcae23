#pragma once

#include <optional>
#include <string_view>

#include "guestkit/detail/base/lines.hpp"
#include "guestkit/detail/inspect/packages.hpp"
#include "guestkit/detail/inspect/release.hpp"
#include "guestkit/detail/inspect/rules.hpp"
#include "guestkit/detail/inspect/system.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// The version in a text from the guest; nothing if there is none, or if a number is too long.
inline std::optional<version_number> version_of(std::string_view text) {
  try {
    return version_in(text);
  } catch (const doubt&) {
    return std::nullopt;
  }
}

GUESTKIT_INLINE bool has_os_release(const guest_tree& files) {
  return files.has_file("/etc/os-release") || files.has_file("/usr/lib/os-release");
}

GUESTKIT_INLINE void take_release(const guest_tree& files, InspectedSystem& system) {
  const auto& release = system.os_release;
  const auto id = value_or_empty(release, "ID"), known = distro_of(id);
  if (!id.empty()) system.distro = known.empty() ? id : known;
  auto product = value_or_empty(release, "PRETTY_NAME");
  if (product.empty()) product = value_or_empty(release, "NAME");
  if (!product.empty()) system.product_name = product;
  const auto version = version_of(value_or_empty(release, "VERSION_ID"));
  if (!version) return;
  system.major_version = version->major;
  system.minor_version = version->minor;
  if (system.distro != "debian") return;
  const auto exact = version_of(first_line(files.text("/etc/debian_version").value_or("")));
  if (exact && exact->major == version->major) system.minor_version = exact->minor;
}

GUESTKIT_INLINE void take_package_format(const guest_tree& files, InspectedSystem& system) {
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

/// Whether libguestfs has identified the distribution by a file that its derivatives have too, such as
/// /etc/debian_version.
inline bool is_guess(const std::string& distro, const std::string& id) {
  const bool of_family = distro == "debian" || distro == "ubuntu" || distro == "redhat-based";
  return of_family && distro_of(id) != distro;
}

GUESTKIT_INLINE std::vector<std::string> fill_in(const guest_tree& files, InspectedSystem& system) {
  const auto id = value_or_empty(system.os_release, "ID");
  const bool guessed = is_guess(system.distro, id);
  if (system.type != "linux" || id.empty() || (system.distro != "unknown" && !guessed)) return {};
  const auto before = system;
  take_release(files, system);
  if (guessed) {
    // The family's file has the minor version, which os-release often lacks.
    if (system.major_version == before.major_version) system.minor_version = before.minor_version;
    system.osinfo = "unknown";
  }
  if (system.package_format == "unknown") take_package_format(files, system);
  return facts_that_differ(system, before);
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
