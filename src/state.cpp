// The bodies of guestkit/detail/state, compiled once: see guestkit/detail/base/form.hpp.
#ifndef GUESTKIT_COMPILED
#error "compile src/ with -DGUESTKIT_COMPILED, as all that includes guestkit's headers"
#endif

#include "guestkit/detail/state/console.ipp"
#include "guestkit/detail/state/handle_state.ipp"
