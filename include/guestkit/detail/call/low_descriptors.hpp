// libguestfs waits for the programs that it runs with select(), which takes descriptors below 1024 only: for
// a higher one the C library aborts the process.
#pragma once

#include <array>
#include <mutex>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/base/unique_fd.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Why libguestfs cannot run programs now; null if it can: select() must be able to handle the descriptors
/// that this process gets next.
const char* descriptor_fault() noexcept;

/// Low descriptors that the process holds so that it can close handles, however many files it has open by
/// then: a call can be refused, whereas a handle has to end. Threads: any.
class spare_descriptors {
 public:
  /// The ones of this process, made on first use.
  static spare_descriptors& shared();
  /// Null if they have not been made.
  static spare_descriptors* existing() noexcept;

  /// Opens those that are missing, as far as there are low ones.
  void fill() noexcept;
  bool are_complete() const noexcept;

  /// Closes them, so that libguestfs gets their numbers.
  void lend() noexcept;
  /// Ends what lend() began.
  void take_back() noexcept;

 private:
  void fill_locked() noexcept;

  mutable std::mutex mutex_;       // guards the rest
  std::array<unique_fd, 8> held_;  // libguestfs needs two for each handle that is being closed
  int lent_ = 0;                   // how often, at this moment
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/call/low_descriptors.ipp"
#endif
