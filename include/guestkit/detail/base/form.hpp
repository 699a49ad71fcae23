// The two forms of the library. Header-only is the default: every body is inline. A program that defines
// GUESTKIT_COMPILED sees only declarations and links with the bodies, which src/ compiles once, a file for
// each room of detail/. A program that links with the library must define GUESTKIT_COMPILED in every file:
// Meson's guestkit_compiled_dep, pkg-config's guestkit-compiled and CMake's guestkit::compiled do both.
//
// Each form has its own inline namespace, which users never write. A program that mixes the forms, with one
// part calling the other, fails to link; without the namespaces it would violate the one-definition rule.
//
// For this, each header ends by including its bodies, detail/…/NAME.ipp, unless GUESTKIT_COMPILED is defined.
// In the bodies, definitions of what the header declares begin with GUESTKIT_INLINE; helpers are plainly
// inline.
#pragma once

#ifdef GUESTKIT_COMPILED
#define GUESTKIT_FORM compiled
#define GUESTKIT_INLINE
#else
#define GUESTKIT_FORM header_only
#define GUESTKIT_INLINE inline
#endif
