// libguestfs' rules for a guest's texts, as far as guestkit is sure to agree with it. Anything beyond is a
// doubt, and libguestfs itself is asked.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Why guestkit's own rules must not decide about a guest.
struct doubt {
  std::string reason;
};

struct version_number {
  int major = 0;
  int minor = 0;

  bool operator==(const version_number&) const = default;
};

/// The first two numbers with a dot between; else the first number alone.
std::optional<version_number> version_in(std::string_view text);

/// The facts that libguestfs takes from os-release.
struct os_release_facts {
  std::string id;
  std::string pretty_name;
  std::string version_id;
  bool has_carriage_returns = false;  ///< libguestfs treats them as part of the values
};

os_release_facts os_release_of(std::string_view text);

/// libguestfs' name for a distribution whose rules guestkit knows, by os-release's ID; empty for others.
std::string distro_of(std::string_view id);

std::string package_format_of(std::string_view distro);

/// @param has_dnf  whether the guest has /usr/bin/dnf
std::string package_management_of(std::string_view distro, int major, bool has_dnf);

std::string osinfo_of(const std::string& distro, version_number version);

/// The version in the first line of a file such as centos-release.
version_number release_version(std::string_view line, std::string_view product);

/// The architecture that file(1) and libguestfs derive from an ELF program's header.
std::string elf_architecture(std::string_view header);

/// A host name from the first line of a file, as libguestfs reads it.
std::optional<std::string> hostname_in(std::string_view text);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/rules.ipp"
#endif
