// QEMU's filter of system calls (seccomp): a QEMU that a disk has taken over can do little with the host.
#pragma once

#include <functional>
#include <string>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/base/run_program.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// The value of QEMU's option -sandbox: what libvirt gives each of its guests. QEMU may then start no program
/// and no process, change neither user nor group, set no priorities, and make no system calls that only old
/// programs need: an appliance does none of that, and faults of the kernel were in such calls. A forbidden
/// call ends QEMU.
inline constexpr const char* sandbox_rules =
    "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/// Whether QEMU can filter its system calls; if not, why.
struct SandboxStatus {
  bool usable = false;
  std::string reason;
  bool settled = true;  ///< false: QEMU gave no answer, so the next launch asks again
};

/// Whether this QEMU filters its system calls on this host. Found out by running it for some 50 ms, once per
/// process and, if it does, once for all of the user's processes until QEMU changes or the host is started
/// again. Threads: any.
/// @param qemu  as libguestfs names it: a path, or a name to look for in PATH
/// @param look  called several times a second meanwhile; if it throws, the wait ends
SandboxStatus sandbox_status(const std::string& qemu, const std::function<void()>& look = {});

/// Asks QEMU; remembers nothing.
SandboxStatus probe_sandbox(const std::string& qemu, const program_limit& limit,
                            const std::function<void()>& look = {});

/// Whether a program is a script, which may do anything with the arguments that it gets.
bool is_script(const std::string& program);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/launch/sandbox.ipp"
#endif
