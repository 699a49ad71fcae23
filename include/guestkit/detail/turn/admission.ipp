#pragma once

#include <cerrno>
#include <chrono>
#include <utility>

#include "guestkit/detail/base/fork.hpp"
#include "guestkit/detail/base/seconds.hpp"
#include "guestkit/detail/turn/admission.hpp"
#include "guestkit/detail/turn/turns.hpp"
#include "guestkit/error.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE admission::place::place(place&& other) noexcept
    : owner_(std::exchange(other.owner_, nullptr)), reserved_(other.reserved_), late_(other.late_) {}

GUESTKIT_INLINE admission::place& admission::place::operator=(place&& other) noexcept {
  std::swap(owner_, other.owner_);
  std::swap(reserved_, other.reserved_);
  std::swap(late_, other.late_);
  return *this;
}

GUESTKIT_INLINE void admission::place::started() noexcept {
  if (owner_ != nullptr) owner_->release(std::exchange(reserved_, late_) - late_, 0);
}

GUESTKIT_INLINE void admission::place::give_back() noexcept {
  admission* const owner = std::exchange(owner_, nullptr);
  if (owner != nullptr && owner->generation_ == fork_generation()) owner->release(reserved_, 1);
}

GUESTKIT_INLINE admission::admission(memory_source memory) : memory_(std::move(memory)) {}

GUESTKIT_INLINE admission& admission::shared() {
  static constinit of_process<admission> all;
  return all.get();
}

GUESTKIT_INLINE admission::place admission::take(std::uint64_t bytes, Seconds timeout,
                                                 const std::function<void()>& look, std::uint64_t late) {
  using clock = std::chrono::steady_clock;
  constexpr std::chrono::milliseconds interval{50};
  const auto begin = clock::now();
  std::unique_lock lock(mutex_);
  while (!has_room(bytes)) {
    if (clock::now() - begin >= timeout) refuse(timeout);
    changed_.wait_for(lock, interval);
    lock.unlock();
    look();
    lock.lock();
  }
  ++running_;
  reserved_ += bytes;
  return place(*this, bytes, late);
}

GUESTKIT_INLINE void admission::set_limit(std::optional<unsigned> limit) {
  const std::lock_guard lock(mutex_);
  limit_ = limit;
  changed_.notify_all();
}

GUESTKIT_INLINE unsigned admission::running() const {
  const std::lock_guard lock(mutex_);
  return running_;
}

GUESTKIT_INLINE bool admission::has_room(std::uint64_t bytes) const {
  if (running_ == 0) return true;
  if (limit_ && running_ >= *limit_) return false;
  const auto available = memory_();
  return available >= reserved_ && available - reserved_ >= bytes;
}

GUESTKIT_INLINE void admission::refuse(Seconds timeout) const {
  const auto text = "waited longer than " + shown(timeout) +
                    " (admission_timeout) for memory: this process runs " + std::to_string(running_) +
                    " appliances; a program that holds one while waiting for another would wait forever";
  throw CallTimeout("launch", text, ETIMEDOUT, Cause::admission_timeout, timeout, "admission_timeout");
}

GUESTKIT_INLINE void admission::release(std::uint64_t bytes, unsigned ended) noexcept {
  const std::lock_guard lock(mutex_);
  running_ -= ended;
  reserved_ -= bytes;
  changed_.notify_all();
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
