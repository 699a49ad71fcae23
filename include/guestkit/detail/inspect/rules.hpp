// libguestfs' rules for a guest's texts, as far as guestkit is sure to agree with it. Anything beyond is a
// doubt, and libguestfs itself is asked.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "guestkit/detail/base/doubt.hpp"
#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/inspect/rule_versions.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

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

/// What libguestfs says of a distribution.
struct distribution {
  std::string_view id;  ///< in os-release
  std::string_view name;
  std::string_view package_format;
  std::string_view package_management = {};  ///< empty: dnf, or its predecessors in old versions

  /// The file in /etc that libguestfs reads if os-release has no minor version, and what precedes the version
  /// there. Empty: os-release is enough.
  std::string_view release_file = {};
  std::string_view release_name = {};

  libguestfs_version since = {};  ///< the first version with known rules that has it
};

/// The distribution of that ID, as the newest libguestfs describes it; null if guestkit does not know its
/// rules.
const distribution* distribution_of(std::string_view id);

/// libguestfs' name for a distribution whose rules guestkit knows, by os-release's ID; empty for others.
std::string distro_of(std::string_view id);

/// A file in /etc that tells the distribution.
struct release_file {
  std::string_view name;
  libguestfs_version since = {};
};

/// Those that libguestfs looks for after os-release, and takes the first.
inline constexpr std::array<release_file, 10> release_files{{{"lsb-release"},
                                                             {"openmandriva-release"},
                                                             {"tencentos-release", {1, 60, 1}},
                                                             {"opencloudos-release", {1, 54, 1}},
                                                             {"oracle-release"},
                                                             {"centos-release"},
                                                             {"circle-release", {1, 54, 1}},
                                                             {"rocky-release"},
                                                             {"altlinux-release"},
                                                             {"redhat-release"}}};

/// The first version with known rules that finds the devices of PARTUUID= and PARTLABEL= in fstab.
inline constexpr libguestfs_version finds_partitions_by_tag{1, 54, 1};

/// The first one that follows /dev/disk/by-uuid/ in fstab, and that looks names in /dev/mapper up in
/// crypttab.
inline constexpr libguestfs_version follows_links_to_devices{1, 60, 1};

/// The first one that takes the first line of fstab for / where there are several.
inline constexpr libguestfs_version takes_first_root{1, 60, 1};

/// The first one that leaves out a btrfs subvolume with the same system as the one that is mounted by
/// default.
inline constexpr libguestfs_version leaves_out_snapshots{1, 60, 1};

/// The first one that knows SLES 15 and newer as osinfo does, as "sle15".
inline constexpr libguestfs_version shortens_sles{1, 60, 1};

/// @param has_dnf  whether the guest has /usr/bin/dnf
std::string package_management_of(const distribution& distro, int major, bool has_dnf);

std::string osinfo_of(const std::string& distro, version_number version,
                      const libguestfs_version& libguestfs);

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
