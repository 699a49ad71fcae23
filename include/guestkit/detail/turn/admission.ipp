#pragma once

#include <cerrno>
#include <chrono>
#include <utility>

#include "guestkit/detail/turn/admission.hpp"
#include "guestkit/detail/turn/turns.hpp"
#include "guestkit/error.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE admission::place::place(place&& other) noexcept
    : owner_(std::exchange(other.owner_, nullptr)), starting_(other.starting_) {}

GUESTKIT_INLINE admission::place& admission::place::operator=(place&& other) noexcept {
  std::swap(owner_, other.owner_);
  std::swap(starting_, other.starting_);
  return *this;
}

GUESTKIT_INLINE void admission::place::started() noexcept {
  if (owner_ != nullptr && std::exchange(starting_, false)) owner_->changed(0, -1);
}

GUESTKIT_INLINE void admission::place::give_back() noexcept {
  admission* const owner = std::exchange(owner_, nullptr);
  if (owner != nullptr && generation_ == fork_generation())
    owner->changed(-1, std::exchange(starting_, false) ? -1 : 0);
}

GUESTKIT_INLINE admission::admission(memory_source memory) : memory_(std::move(memory)) {}

GUESTKIT_INLINE admission& admission::shared() {
  static constinit of_process<admission> all;
  return all.get();
}

GUESTKIT_INLINE admission::place admission::take(std::uint64_t bytes, Seconds timeout,
                                                 const std::function<void()>& look) {
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
  ++starting_;
  return place(*this);
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
  return memory_() / bytes > starting_;  // those still starting do not use theirs yet
}

GUESTKIT_INLINE void admission::refuse(Seconds timeout) const {
  const auto text = "waited longer than " + shown(timeout) +
                    " (admission_timeout) for memory: this process runs " + std::to_string(running_) +
                    " appliances; who holds one and waits for another would wait for ever";
  throw CallTimeout("launch", text, ETIMEDOUT, timeout.count(), "admission_timeout");
}

GUESTKIT_INLINE void admission::changed(int running, int starting) noexcept {
  const std::lock_guard lock(mutex_);
  running_ += static_cast<unsigned>(running);
  starting_ += static_cast<unsigned>(starting);
  changed_.notify_all();
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
