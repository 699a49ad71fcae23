// The bodies of guestkit/detail/files, compiled once: see guestkit/detail/base/form.hpp.
#ifndef GUESTKIT_COMPILED
#error "compile src/ with -DGUESTKIT_COMPILED, as all that includes guestkit's headers"
#endif

#include "guestkit/detail/files/files.ipp"

#include "guestkit/detail/files/guest_actions.ipp"
#include "guestkit/detail/files/mounted.ipp"
#include "guestkit/detail/files/partial_file.ipp"
#include "guestkit/detail/files/reading.ipp"
#include "guestkit/detail/files/tree.ipp"
#include "guestkit/detail/files/trees.ipp"
