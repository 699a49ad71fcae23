// How many appliances this process may run at once: as many as there is memory for. A launch takes a place
// before it begins; the place is released when the hypervisor is gone, however it ended.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "guestkit/detail/base/fork.hpp"
#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/turn/memory.hpp"
#include "guestkit/limits.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Admits the appliances of one process. Threads: any.
class admission {
 public:
  /// A place for one appliance, released by the destructor. Not in a forked child: there the appliance is the
  /// parent's.
  class place {
   public:
    place() = default;
    place(place&& other) noexcept;
    place& operator=(place&& other) noexcept;
    ~place() { give_back(); }

    /// The appliance is up: its memory, but for the late part, is in use now and no longer needs to be
    /// reserved.
    void started() noexcept;
    void give_back() noexcept;

   private:
    friend admission;
    place(admission& owner, std::uint64_t bytes, std::uint64_t late) noexcept
        : owner_(&owner), reserved_(bytes), late_(late) {}

    admission* owner_ = nullptr;
    std::uint64_t reserved_ = 0;
    std::uint64_t late_ = 0;
  };

  using memory_source = std::function<std::uint64_t()>;
  explicit admission(memory_source memory = [] { return available_memory(); });
  admission(const admission&) = delete;
  admission& operator=(const admission&) = delete;

  /// The one of this process. A forked child has its own, because it has none of the parent's appliances.
  static admission& shared();

  /// Waits until there is memory for one more. The first is always admitted, since no other appliance could
  /// free memory for it. Throws CallTimeout.
  /// @param bytes  how much memory it will use
  /// @param look   called several times a second; if it throws, the wait ends
  /// @param late   the part of bytes that it may begin to use at any time: reserved as long as it runs
  place take(std::uint64_t bytes, Seconds timeout, const std::function<void()>& look, std::uint64_t late = 0);

  /// Limits how many run at once, even if there is memory for more.
  void set_limit(std::optional<unsigned> limit);

  unsigned running() const;

 private:
  bool has_room(std::uint64_t bytes) const;
  [[noreturn]] void refuse(Seconds timeout) const;
  void release(std::uint64_t bytes, unsigned ended) noexcept;

  const unsigned generation_ = fork_generation();  // of the process whose appliances it admits
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  memory_source memory_;
  std::optional<unsigned> limit_;
  unsigned running_ = 0;
  std::uint64_t reserved_ = 0;  // bytes that the running ones do not use yet
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/turn/admission.ipp"
#endif
