// Finds out whether KVM works, by starting a guest.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/base/run_program.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Whether KVM can run an appliance on this host; if not, why, and the remedy.
struct KvmStatus {
  bool usable = false;
  std::string reason;
  bool hangs = false;    ///< no guest code ran, which lasts until the host is started again
  bool crashed = false;  ///< QEMU did, which may pass: perhaps the host had no memory or processes left
  bool settled = true;   ///< false: the host was too busy, or lacked what it takes, to find out
};

/// How a guest of one architecture says that it runs.
struct kvm_probe {
  std::vector<std::string> options;     ///< QEMU's, for its machine and for what hears the guest
  std::vector<unsigned char> firmware;  ///< the guest; empty: none, QEMU itself has to start and end
  int exit_status = 0;                  ///< QEMU's, once the guest has spoken
  std::string word;                     ///< what the guest writes to QEMU's stdout
};

/// @param accelerator   kvm, or tcg to try the guest out where there is no KVM
kvm_probe probe_for(std::string_view architecture, const std::string& accelerator = "kvm");

/// Why this process may not even open the device; nothing if it may.
std::optional<KvmStatus> refused_kvm(const std::string& device);

/// Asks the kernel and QEMU; remembers nothing. Runs QEMU for about 0.1 s if the device can be opened.
/// @param look  called several times a second meanwhile; if it throws, the probe ends
KvmStatus probe_kvm(const std::string& device, const std::string& qemu, const kvm_probe& probe,
                    const program_limit& limit, const std::function<void()>& look = {});

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/launch/kvm_probe.ipp"
#endif
