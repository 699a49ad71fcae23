// One call: everything known about the operating systems on a guest's disks, as values.
//
// What a disk says is hostile: it is read by a throw-away appliance, every text of it is data. Needs
// libguestfs 1.44 where it is used.
#pragma once

#include "guestkit/detail/base/form.hpp"
#include "guestkit/generated/inspection.hpp"
#include "guestkit/guestfs.hpp"
#include "guestkit/inspect_options.hpp"

namespace guestkit::inline GUESTKIT_FORM {

/// Tell what is on the disks of a handle that was launched. Whatever is mounted is unmounted, before and
/// afterwards; nothing is written.
///
/// One call for the limits: Limits::call is the time for all of it, of which each part may take half of what
/// is left; without that limit, no part has one. What fails or takes too long is in the result's failures;
/// when the appliance had to be ended for it, what came afterwards is missing, and the handle is of no more
/// use. Throws Error when nothing is known.
Inspection inspect(Guestfs& g, const InspectOptions& options = {});

/// Tell what is on the disks of one guest, on a handle without disks that was not launched: adds them for
/// reading, launches, inspects. Limits::call is the time for all of it, the launch included. A compressed
/// disk or an archive (OVA) is an Error: it is to be unpacked before.
Inspection inspect_disks(Guestfs& g, const string_list& disks, const InspectOptions& options = {});

/// What a handle for inspections is made with: the appliance for them, ten minutes for a guest, and a kill at
/// once when these are over, since nothing can be lost.
HandleOptions inspection_handle();

/// Tell what is on the disks of one guest, in an appliance of its own.
///
///     for (const auto& system : guestkit::inspect({"web.qcow2"}).operating_systems)
///       std::cout << system.product_name << '\n';
///
/// @param disks  images or block devices, in the guest's order; none that is packed, as inspect_disks()
Inspection inspect(const string_list& disks, const InspectOptions& options = {},
                   const HandleOptions& handle = inspection_handle());

}  // namespace guestkit::inline GUESTKIT_FORM

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/inspect.ipp"
#endif
