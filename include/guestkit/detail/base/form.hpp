// The two forms of the library. Header-only is the default: every body is inline. A program that defines
// GUESTKIT_COMPILED sees only declarations and links with the bodies, which src/ compiles once, a file for
// each room of detail/. A program that links with the library must define GUESTKIT_COMPILED in every file:
// Meson's guestkit_compiled_dep, pkg-config's guestkit-compiled and CMake's guestkit::compiled do both.
//
// Each form of each version has its own inline namespace, such as header_only_0_4_0, which users never write.
// A program that mixes them, with one part calling the other, fails to link, and two shared libraries that
// were built with different headers can be in one process; without the namespaces both would violate the
// one-definition rule.
//
// For this, each header ends by including its bodies, detail/…/NAME.ipp, unless GUESTKIT_COMPILED is defined.
// In the bodies, definitions of what the header declares begin with GUESTKIT_INLINE; helpers are plainly
// inline.
#pragma once

#include "guestkit/version.hpp"

#define GUESTKIT_JOINED(form, major, minor, patch) form##_##major##_##minor##_##patch
#define GUESTKIT_VERSIONED(form, major, minor, patch) GUESTKIT_JOINED(form, major, minor, patch)
#define GUESTKIT_FORM_OF_VERSION(form) \
  GUESTKIT_VERSIONED(form, GUESTKIT_VERSION_MAJOR, GUESTKIT_VERSION_MINOR, GUESTKIT_VERSION_PATCH)

#ifdef GUESTKIT_COMPILED
#define GUESTKIT_FORM GUESTKIT_FORM_OF_VERSION(compiled)
#define GUESTKIT_INLINE
#else
#define GUESTKIT_FORM GUESTKIT_FORM_OF_VERSION(header_only)
#define GUESTKIT_INLINE inline
#endif
