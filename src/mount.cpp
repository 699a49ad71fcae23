// The bodies of guestkit/detail/mount, compiled once: see guestkit/detail/base/form.hpp.
#ifndef GUESTKIT_COMPILED
#error "compile src/ with -DGUESTKIT_COMPILED, as all that includes guestkit's headers"
#endif

#include "guestkit/detail/mount/fusermount.ipp"
#include "guestkit/detail/mount/local_mount.ipp"
