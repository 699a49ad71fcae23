// libguestfs' rules for a Linux, as far as guestkit is sure to agree with it: see rules.hpp.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/files/guest_actions.hpp"
#include "guestkit/detail/inspect/layout.hpp"
#include "guestkit/detail/inspect/mount_plan.hpp"
#include "guestkit/generated/inspection.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// A Linux, as the rules describe it.
struct linux_description {
  InspectedSystem system;
  mountpoint_list mounted;               ///< the filesystems mounted besides the root
  std::vector<std::string> corrections;  ///< the facts known to differ from libguestfs' answer, and why
};

/// The Linux on the filesystem mounted at /, on which it mounts what belongs to it. Throws doubt.
/// @param root  that filesystem
/// @param usr_like  the filesystems that look like a /usr: all must be explained by its mountpoints
linux_description read_linux(guest_actions& g, layout& layout, const std::string& root,
                             const string_list& usr_like);

/// The same as far as these rules go; nothing if there is none. What the rules do not cover is listed in the
/// failures.
std::optional<linux_description> read_linux_alone(guest_actions& g, layout& layout, const std::string& root,
                                                  bool readonly = true);

/// Corrects libguestfs' answer about a Linux whose files it sees differently than the guest does: with /usr
/// on its own filesystem, or an os-release with CRLF. The guest must be mounted.
void correct_linux(guest_actions& g, layout& layout, InspectedSystem& theirs,
                   std::vector<std::string>& corrections);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/linux_rules.ipp"
#endif
