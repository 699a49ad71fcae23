// The bodies of guestkit/detail/call, compiled once: see guestkit/detail/base/form.hpp.
#ifndef GUESTKIT_COMPILED
#error "compile src/ with -DGUESTKIT_COMPILED, as all that includes guestkit's headers"
#endif

#include "guestkit/detail/call/call.ipp"

#include "guestkit/detail/call/event.ipp"
#include "guestkit/detail/call/event_relay.ipp"
#include "guestkit/detail/call/handle.ipp"
#include "guestkit/detail/call/listeners.ipp"
#include "guestkit/detail/call/machine_calls.ipp"
