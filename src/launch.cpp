// The bodies of guestkit/detail/launch, compiled once: see guestkit/detail/base/form.hpp.
#ifndef GUESTKIT_COMPILED
#error "compile src/ with -DGUESTKIT_COMPILED, as all that includes guestkit's headers"
#endif

#include "guestkit/detail/launch/appliance.ipp"
#include "guestkit/detail/launch/appliance_fault.ipp"
#include "guestkit/detail/launch/choosing.ipp"
#include "guestkit/detail/launch/copy_settings.ipp"
#include "guestkit/detail/launch/covering.ipp"
#include "guestkit/detail/launch/hypervisor_name.ipp"
#include "guestkit/detail/launch/kept_verdicts.ipp"
#include "guestkit/detail/launch/kvm.ipp"
#include "guestkit/detail/launch/kvm_probe.ipp"
#include "guestkit/detail/launch/launch_error.ipp"
#include "guestkit/detail/launch/launcher.ipp"
#include "guestkit/detail/launch/open_disk.ipp"
#include "guestkit/detail/launch/private_directory.ipp"
#include "guestkit/detail/launch/sandbox.ipp"
#include "guestkit/detail/launch/starting.ipp"
