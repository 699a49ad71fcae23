#pragma once

#include <sys/eventfd.h>
#include <sys/select.h>

#include <algorithm>
#include <cstddef>
#include <utility>

#include "guestkit/detail/base/fork.hpp"
#include "guestkit/detail/base/low_descriptors.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

inline unique_fd next_descriptor() noexcept {
  return unique_fd(::eventfd(0, EFD_CLOEXEC));
}

/// Why libguestfs cannot run programs now; null if it can.
inline const char* descriptor_fault() noexcept {
  constexpr std::size_t needed = 16;  // more than such an action opens, because other threads open files too
  std::array<unique_fd, needed> next;
  for (auto& each : next) {
    each = next_descriptor();
    if (each.get() < 0)
      return "this process may not open 16 more files, and with fewer libguestfs crashes when it runs a "
             "program. Close some, or raise the limit (ulimit -n)";
    if (each.get() >= FD_SETSIZE)
      return "1000 files are open in this process: with more, libguestfs aborts it when it runs a program. "
             "Close some, or use a process of its own for disks";
  }
  return nullptr;
}

inline constinit of_process<spare_descriptors> spare_descriptors_of_process;

GUESTKIT_INLINE spare_descriptors& spare_descriptors::shared() {
  return spare_descriptors_of_process.get();
}

GUESTKIT_INLINE const char* spare_descriptors::fill() noexcept {
  const std::lock_guard lock(mutex_);
  fill_locked();
  return descriptor_fault();
}

GUESTKIT_INLINE bool spare_descriptors::suffice() noexcept {
  const std::lock_guard lock(mutex_);
  fill_locked();
  const auto is_open = [](const unique_fd& each) { return each.get() >= 0; };
  return std::count_if(held_.begin(), held_.end(), is_open) >= 2 || descriptor_fault() == nullptr;
}

/// Where descriptors abound it holds no lock: rm may hang, and other handles are not to wait for it.
GUESTKIT_INLINE void spare_descriptors::loan::begin() noexcept {
  auto& spare = shared();
  std::unique_lock lock(spare.mutex_);
  if (descriptor_fault() == nullptr) return;
  for (auto& each : spare.held_) each = unique_fd();
  lent_ = std::move(lock);
}

GUESTKIT_INLINE spare_descriptors::loan::~loan() {
  if (lent_) shared().fill_locked();
}

GUESTKIT_INLINE void spare_descriptors::fill_locked() noexcept {
  for (auto& each : held_) {
    if (each.get() >= 0) continue;
    auto next = next_descriptor();
    if (next.get() < 0 || next.get() >= FD_SETSIZE) return;
    each = std::move(next);
  }
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
