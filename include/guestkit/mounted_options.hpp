// How a guest is shown in a directory of this host: Guestfs::mounted().
#pragma once

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM {

struct MountedOptions {
  bool readonly = true;      ///< false: programs may write, if the handle may
  bool allow_other = false;  ///< other users may look, too; /etc/fuse.conf has to permit it, except to root
  /// This process does nothing but serve the directory: `guestkit unmount` waits for its end, and ends it if
  /// it is forced to.
  bool dedicated = false;
};

}  // namespace guestkit::inline GUESTKIT_FORM
