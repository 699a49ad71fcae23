// Finds out whether KVM works, by starting a guest.
#pragma once

#include <functional>
#include <string>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/base/run_program.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Whether KVM can run an appliance on this host; if not, why, and the remedy.
struct KvmStatus {
  bool usable = false;
  std::string reason;
  bool hangs = false;   ///< no guest code came to run; worth another try after some minutes
  bool settled = true;  ///< false: the host was too busy to find out
};

/// QEMU's exit status once the guest of the probe has run.
inline constexpr int probe_exit_status = (0x10 << 1) | 1;

/// Asks the kernel and QEMU; remembers nothing. Runs QEMU for about 0.1 s if the device can be opened.
/// @param look  called several times a second meanwhile; if it throws, the probe ends
KvmStatus probe_kvm(const std::string& device, const std::string& qemu, const program_limit& limit,
                    const std::function<void()>& look = {});

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/launch/kvm_probe.ipp"
#endif
