// Mounts a guest's filesystems as its operating system would.
#pragma once

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/files/guest_actions.hpp"
#include "guestkit/generated/inspection.hpp"

namespace guestkit::inline GUESTKIT_FORM {
struct MountOptions;
}

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Mounts the chosen system, or the only one. Everything already mounted is unmounted first.
MountedGuest mount_guest(guest_actions& g, const MountOptions& options);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/guest_mounting.ipp"
#endif
