// libguestfs' rules for Windows, as far as guestkit is sure to agree with it: see rules.hpp.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/files/guest_actions.hpp"
#include "guestkit/detail/inspect/layout.hpp"
#include "guestkit/detail/inspect/registry_hive.hpp"
#include "guestkit/detail/inspect/rule_versions.hpp"
#include "guestkit/generated/inspection.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Whether a filesystem with these names in its top directory, in lower case, may be a Windows' root.
bool may_be_windows(const std::set<std::string>& names);

/// Where a Windows is on its filesystem.
struct windows_place {
  std::string systemroot;
  std::string registry;  ///< the directory of its hives
  std::string program;   ///< that tells the architecture
};

/// The Windows on the filesystem at /; nothing if there is none. Throws doubt.
/// @param names  those in the top directory, in lower case
std::optional<windows_place> find_windows(guest_actions& g, const std::set<std::string>& names);

/// The Windows on the filesystem at /. Throws doubt.
/// @param root  that filesystem
InspectedSystem read_windows(guest_actions& g, layout& layout, const std::string& root,
                             const windows_place& place, const libguestfs_version& libguestfs);

/// The same as far as these rules go. What they do not cover, such as a damaged hive, is listed in the
/// failures.
InspectedSystem read_windows_alone(guest_actions& g, layout& layout, const std::string& root,
                                   const windows_place& place, const libguestfs_version& libguestfs);

/// What a failure says of a damaged file of a Windows: which one, why, what it costs, and what to do.
std::string told_damage(const std::string& file, const std::string& reason, const std::string& cost);

/// The installed programs, from the registry in that file. Throws doubt.
std::vector<InspectedApplication> windows_applications(guest_actions& g, const std::string& software);

/// The same, from an opened registry.
std::vector<InspectedApplication> windows_applications(registry_hive& software,
                                                       const libguestfs_version& libguestfs);

/// The architecture that file(1) and libguestfs derive from the first bytes of a program.
std::string pe_architecture(std::string_view start);

/// libosinfo's name for a Windows with these facts.
std::string windows_osinfo(const InspectedSystem& system, const libguestfs_version& libguestfs);

/// The GUID of a GPT partition from the registry's MountedDevices, as blkid writes it.
std::string guid_in_mounted_device(std::string_view data);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/windows_rules.ipp"
#endif
