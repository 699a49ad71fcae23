// The bodies of guestkit/detail/turn, compiled once: see guestkit/detail/base/form.hpp.
#ifndef GUESTKIT_COMPILED
#error "compile src/ with -DGUESTKIT_COMPILED, as all that includes guestkit's headers"
#endif

#include "guestkit/detail/turn/admission.ipp"
#include "guestkit/detail/turn/appliance_limit.ipp"
#include "guestkit/detail/turn/call_clock.ipp"
#include "guestkit/detail/turn/callback_time.ipp"
#include "guestkit/detail/turn/forced_end.ipp"
#include "guestkit/detail/turn/memory.ipp"
#include "guestkit/detail/turn/processors.ipp"
#include "guestkit/detail/turn/programs.ipp"
#include "guestkit/detail/turn/turns.ipp"
#include "guestkit/detail/turn/waiting_line.ipp"
#include "guestkit/detail/turn/watcher.ipp"
