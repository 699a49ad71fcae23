// One call that returns everything known about the operating systems on a guest's disks, as values.
//
// The contents of a disk are hostile: a throw-away appliance reads them, and every text is treated as data.
// Calling it requires libguestfs 1.44.
#pragma once

#include "guestkit/detail/base/form.hpp"
#include "guestkit/generated/inspection.hpp"
#include "guestkit/guestfs.hpp"
#include "guestkit/inspect_options.hpp"

namespace guestkit::inline GUESTKIT_FORM {

/// Reports what is on the disks of a launched handle. Everything mounted is unmounted, before and afterwards;
/// nothing is written.
///
/// Counts as one call: Limits::call bounds all of it, and each part may take half of the time that is left.
/// Without that limit, no part has one. What fails or takes too long is listed in the result's failures. If
/// the appliance had to be killed for it, later parts are missing and the handle is no longer usable. Throws
/// Error if nothing could be found out.
Inspection inspect(Guestfs& g, const InspectOptions& options = {});

/// Reports what is on the disks of one guest. The handle must have no disks and not be launched: this adds
/// the disks read-only, launches and inspects. Limits::call bounds all of it, including the launch. A
/// compressed disk or an archive (OVA) is an Error: unpack it first. Filesystems may stay mounted: close the
/// handle, or begin with umount_all().
Inspection inspect_disks(Guestfs& g, const string_list& disks, const InspectOptions& options = {});

/// Options for handles that only inspect: the inspection appliance, ten minutes per guest, and no grace
/// period after that, since nothing can be lost.
HandleOptions inspection_handle_options();

/// Reports what is on the disks of one guest, in its own appliance.
///
///     for (const auto& system : guestkit::inspect({"web.qcow2"}).operating_systems)
///       std::cout << guestkit::printable(system.product_name) << '\n';
///
/// @param disks  images or block devices, in the guest's order; not compressed or archived, as for
///     inspect_disks()
Inspection inspect(const string_list& disks, const InspectOptions& options = {},
                   const HandleOptions& handle = inspection_handle_options());

}  // namespace guestkit::inline GUESTKIT_FORM

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/inspect.ipp"
#endif
