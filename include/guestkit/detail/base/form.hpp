// The two forms of the library. Header-only is the default: every body is inline. A program that defines
// GUESTKIT_COMPILED sees declarations alone and links with the bodies, which src/guestkit.cpp compiles once.
//
// Each form has an inline namespace of its own, which nobody writes. Where a program mixes the forms and one
// part calls the other, it does not link; without the namespaces it would break the one-definition rule.
//
// So a header ends by including its bodies, detail/…/NAME.ipp, unless GUESTKIT_COMPILED is defined. There,
// what the header has declared begins with GUESTKIT_INLINE; what only the bodies use is plainly inline.
#pragma once

#ifdef GUESTKIT_COMPILED
#define GUESTKIT_FORM compiled
#define GUESTKIT_INLINE
#else
#define GUESTKIT_FORM header_only
#define GUESTKIT_INLINE inline
#endif
