#pragma once

#include "guestkit/detail/call/call.hpp"
#include "guestkit/detail/files/guest_actions.hpp"
#include "guestkit/detail/inspect/inspection.hpp"
#include "guestkit/inspect.hpp"
#include "guestkit/open_disk.hpp"

namespace guestkit::inline GUESTKIT_FORM {

GUESTKIT_INLINE Inspection inspect(Guestfs& g, const InspectOptions& options) {
  detail::guest_actions guest(state_of(g));
  const detail::call_scope scope(guest.state(), "inspect");
  return detail::inspect(guest, options);
}

GUESTKIT_INLINE Inspection inspect_disks(Guestfs& g, const string_list& disks,
                                         const InspectOptions& options) {
  detail::guest_actions guest(state_of(g));
  const detail::call_scope scope(guest.state(), "inspect");
  return detail::inspect_disks(guest, disks, options, detail::opener_of(g));
}

GUESTKIT_INLINE HandleOptions inspection_handle_options() {
  return {.appliance = "inspection", .limits = {.call = Seconds(600), .cancel_grace = Seconds(0)}};
}

GUESTKIT_INLINE Inspection inspect(const string_list& disks, const InspectOptions& options,
                                   const HandleOptions& handle) {
  Guestfs g(handle);
  return inspect_disks(g, disks, options);
}

}  // namespace guestkit::inline GUESTKIT_FORM
