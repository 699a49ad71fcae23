#pragma once

#include "guestkit/detail/call/call.hpp"
#include "guestkit/detail/files/guest_actions.hpp"
#include "guestkit/detail/inspect/guest_mounting.hpp"
#include "guestkit/guest.hpp"

namespace guestkit::inline GUESTKIT_FORM {

GUESTKIT_INLINE MountedGuest mount_guest(Guestfs& g, const MountOptions& options) {
  detail::guest_actions guest(state_of(g));
  const detail::call_scope scope(guest.state(), "mount_guest");
  return detail::mount_guest(guest, options);
}

}  // namespace guestkit::inline GUESTKIT_FORM
