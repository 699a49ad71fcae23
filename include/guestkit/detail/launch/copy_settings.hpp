// A handle's settings for another handle.
#pragma once

#include <guestfs.h>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Copies the settings of a handle that can be read back; returns whether all could be copied. Disks and
/// config() cannot be read back: machine::additions records them.
bool copy_settings(guestfs_h* from, guestfs_h* to);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/launch/copy_settings.ipp"
#endif
