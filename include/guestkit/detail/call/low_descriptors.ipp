#pragma once

#include <sys/eventfd.h>
#include <sys/select.h>

#include <algorithm>
#include <cstddef>
#include <utility>

#include "guestkit/detail/call/low_descriptors.hpp"
#include "guestkit/detail/launch/processes.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

inline unique_fd next_descriptor() noexcept {
  return unique_fd(::eventfd(0, EFD_CLOEXEC));
}

GUESTKIT_INLINE const char* descriptor_fault() noexcept {
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

GUESTKIT_INLINE spare_descriptors* spare_descriptors::existing() noexcept {
  return spare_descriptors_of_process.existing();
}

GUESTKIT_INLINE void spare_descriptors::fill() noexcept {
  const std::lock_guard lock(mutex_);
  fill_locked();
}

GUESTKIT_INLINE bool spare_descriptors::are_complete() const noexcept {
  const std::lock_guard lock(mutex_);
  return std::all_of(held_.begin(), held_.end(), [](const unique_fd& each) { return each.get() >= 0; });
}

GUESTKIT_INLINE void spare_descriptors::lend() noexcept {
  const std::lock_guard lock(mutex_);
  ++lent_;
  for (auto& each : held_) each = unique_fd();
}

GUESTKIT_INLINE void spare_descriptors::take_back() noexcept {
  const std::lock_guard lock(mutex_);
  --lent_;
  fill_locked();
}

GUESTKIT_INLINE void spare_descriptors::fill_locked() noexcept {
  if (lent_ != 0) return;
  for (auto& each : held_) {
    if (each.get() >= 0) continue;
    auto next = next_descriptor();
    if (next.get() < 0 || next.get() >= FD_SETSIZE) return;
    each = std::move(next);
  }
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
