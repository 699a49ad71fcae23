// Whether the kernel has Landlock, by which a process gives up access to files; see landlock(7).
#pragma once

#include <sys/syscall.h>
#include <unistd.h>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail::landlock {

/// The version of the kernel's interface; 0 if the kernel has no Landlock or has it switched off.
inline int version() noexcept {
  constexpr unsigned ask_version = 1;
  const long found = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, ask_version);
  return found < 0 ? 0 : static_cast<int>(found);
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail::landlock
