#pragma once

#include <pthread.h>

#include "guestkit/detail/base/fork.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

inline constinit std::atomic<unsigned> forks{0};
/// Registered at load time, when no thread can be caught in it by a fork.
inline const int forks_are_counted =
    ::pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1, std::memory_order_relaxed); });

GUESTKIT_INLINE unsigned fork_generation() noexcept {
  return forks.load(std::memory_order_relaxed);
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
