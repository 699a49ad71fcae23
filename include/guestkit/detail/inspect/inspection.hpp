// An inspection from its beginning to its report.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/inspect/guest_actions.hpp"
#include "guestkit/generated/image_info.hpp"
#include "guestkit/generated/inspection.hpp"
#include "guestkit/inspect_options.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Tells what is on the disks of an appliance that was launched. Whatever is mounted is unmounted, before and
/// afterwards.
/// @param known  what is known of the disks before, in the order in which they were added
Inspection inspect(guest_actions& g, const InspectOptions& options, std::vector<InspectedDisk> known = {});

/// What an inspection of disks does with the handle itself, whose results may be other than values.
struct disk_opener {
  std::function<ImageInfo(const std::string& path, const OpenDiskOptions& options)> open_disk;
  std::function<void()> launch;
};

/// @param g  Guestfs or its like
template <class Handle>
disk_opener opener_of(Handle& g) {
  return {.open_disk = [&g](const std::string& path,
                            const OpenDiskOptions& options) { return g.open_disk(path, options); },
          .launch =
              [&g] {
                g.set_autosync(false);  // nothing is written: there is nothing to wait for at the end
                g.launch();
              }};
}

/// Adds the disks for reading, launches and inspects. Throws Error for a truncated image: QEMU would read
/// what is missing as zeros.
Inspection inspect_disks(guest_actions& g, const string_list& disks, const InspectOptions& options,
                         const disk_opener& opener);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/inspection.ipp"
#endif
