// An inspection from its beginning to its report.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/files/guest_actions.hpp"
#include "guestkit/generated/image_info.hpp"
#include "guestkit/generated/inspection.hpp"
#include "guestkit/inspect_options.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Reports what is on the disks of a launched appliance. Everything mounted is unmounted, before and
/// afterwards.
/// @param known  what is already known about the disks, in the order in which they were added; only if the
///     appliance was launched for this
Inspection inspect(guest_actions& g, const InspectOptions& options, std::vector<InspectedDisk> known = {});

/// The operations that an inspection of disks needs on the handle itself, whose results may not be values.
struct disk_opener {
  std::function<ImageInfo(const std::string& path, const OpenDiskOptions& options)> open_disk;
  std::function<void()> launch;
};

/// @param g  Guestfs or a similar type
template <class Handle>
disk_opener opener_of(Handle& g) {
  return {.open_disk = [&g](const std::string& path,
                            const OpenDiskOptions& options) { return g.open_disk(path, options); },
          .launch =
              [&g] {
                // Nothing is written, so that there is nothing to wait for at the end.
                static_cast<void>(g.set_autosync(false));
                static_cast<void>(g.launch());  // throws, whatever the Core
              }};
}

/// Adds the disks read-only, launches and inspects. Throws Error for a truncated image, because QEMU would
/// read its missing part as zeros.
Inspection inspect_disks(guest_actions& g, const string_list& disks, const InspectOptions& options,
                         const disk_opener& opener);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/inspection.ipp"
#endif
