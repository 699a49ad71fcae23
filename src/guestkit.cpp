// The compiled form: every body once. Link with it and define GUESTKIT_COMPILED in every file that includes
// guestkit's headers; Meson's guestkit_compiled_dep, pkg-config's guestkit-compiled and CMake's
// guestkit::compiled do both.
#ifndef GUESTKIT_COMPILED
#error "compile this file with -DGUESTKIT_COMPILED, as all that includes guestkit's headers"
#endif

#include "guestkit/detail/base/text.ipp"
#include "guestkit/detail/launch/processes.ipp"
