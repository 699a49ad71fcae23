// The compiled form: every body once. Link with it and define GUESTKIT_COMPILED in every file that includes
// guestkit's headers; Meson's guestkit_compiled_dep, pkg-config's guestkit-compiled and CMake's
// guestkit::compiled do both.
#ifndef GUESTKIT_COMPILED
#error "compile this file with -DGUESTKIT_COMPILED, as all that includes guestkit's headers"
#endif

#include "guestkit/detail/base/error.ipp"
#include "guestkit/detail/base/escape.ipp"
#include "guestkit/detail/base/given_time.ipp"
#include "guestkit/detail/base/host_files.ipp"
#include "guestkit/detail/base/run_program.ipp"
#include "guestkit/detail/base/text.ipp"
#include "guestkit/detail/call/call.ipp"
#include "guestkit/detail/call/event.ipp"
#include "guestkit/detail/call/handle.ipp"
#include "guestkit/detail/call/handle_state.ipp"
#include "guestkit/detail/call/listeners.ipp"
#include "guestkit/detail/call/values.ipp"
#include "guestkit/detail/image/qemu_img.ipp"
#include "guestkit/detail/launch/appliance.ipp"
#include "guestkit/detail/launch/appliance_fault.ipp"
#include "guestkit/detail/launch/console.ipp"
#include "guestkit/detail/launch/kvm.ipp"
#include "guestkit/detail/launch/kvm_probe.ipp"
#include "guestkit/detail/launch/launch_error.ipp"
#include "guestkit/detail/launch/launcher.ipp"
#include "guestkit/detail/launch/processes.ipp"
#include "guestkit/detail/launch/scratch.ipp"
#include "guestkit/detail/turn/admission.ipp"
#include "guestkit/detail/turn/appliance_limit.ipp"
#include "guestkit/detail/turn/memory.ipp"
#include "guestkit/detail/turn/turns.ipp"
