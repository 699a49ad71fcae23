// libguestfs waits for the programs that it runs with select(), which takes descriptors below 1024 only: for
// a higher one the C library aborts the process. Its later releases use poll(), but no number tells which:
// distributions backport. With those, too, the calls are refused that would have aborted earlier ones.
#pragma once

#include <array>
#include <mutex>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/base/unique_fd.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Low descriptors that the process holds so that it can close handles, however many files it has open by
/// then: a call can be refused, whereas a handle has to end. Threads: any.
class spare_descriptors {
 public:
  /// The ones of this process, made on first use.
  static spare_descriptors& shared();

  /// Opens those that are missing, as far as there are low ones. Returns why libguestfs cannot run programs
  /// now; null if it can: select() must be able to handle the descriptors that this process gets next. Waits
  /// while they are lent, since looking takes descriptors for a moment.
  const char* fill() noexcept;
  /// Whether a handle can be closed. Waits while they are lent.
  bool suffice() noexcept;

  /// While it lives, what libguestfs needs to close a handle is lent to it, once begin() is called.
  class loan {
   public:
    loan() = default;
    loan(const loan&) = delete;
    loan& operator=(const loan&) = delete;
    ~loan();
    /// Closes them if others are scarce, so that libguestfs gets their numbers. One loan at a time: the
    /// others wait. The thread must not run the user's code until the end.
    void begin() noexcept;

   private:
    std::unique_lock<std::mutex> lent_;
  };

 private:
  void fill_locked() noexcept;

  std::mutex mutex_;               // guards the rest; held while they are lent
  std::array<unique_fd, 8> held_;  // two are needed; others may get some of the numbers during a loan
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/base/low_descriptors.ipp"
#endif
