// What a forked child must not share with its parent.
#pragma once

#include <atomic>
#include <memory>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// How often this process has been forked since guestkit was loaded. A handle belongs to the process that
/// made it: a forked child must not touch it, or the parent's appliance suffers.
unsigned fork_generation() noexcept;

/// State shared by all threads of a process, created on first use and never destroyed. A forked child creates
/// its own: the parent's may be locked, or half changed, by a thread that does not exist in the child.
///
/// Every static object that is more than an atomic is one of these, itself `static constinit`. Threads: any.
template <class T>
class of_process {
 public:
  constexpr of_process() noexcept = default;

  /// This process' object; null if it has not been created.
  T* existing() const noexcept {
    entry* const found = current_.load();
    return found != nullptr && found->generation == fork_generation() ? &found->object : nullptr;
  }

  T& get() {
    if (T* const found = existing()) return *found;
    auto made = std::make_unique<entry>();
    made->parents = current_.load();
    while (made->parents == nullptr || made->parents->generation != made->generation)
      if (current_.compare_exchange_weak(made->parents, made.get())) return made.release()->object;
    return made->parents->object;  // another thread was faster
  }

 private:
  struct entry {
    unsigned generation = fork_generation();
    entry* parents = nullptr;  // kept so that no tool reports it as leaked
    T object{};
  };
  std::atomic<entry*> current_{nullptr};
};

/// A forked child does not destroy the object: the parent's threads, which may hold its locks or have to be
/// joined, do not exist in the child.
struct process_deleter {
  unsigned generation = fork_generation();
  template <class T>
  void operator()(T* object) const noexcept {
    if (generation == fork_generation()) delete object;
  }
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/base/fork.ipp"
#endif
