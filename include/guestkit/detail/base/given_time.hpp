// How much time the host has given a process, to decide whether the process hangs.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Measures how much of the elapsed time a process could use. Time in which it waits for a processor, is
/// stopped, or waits for the host's disks is the host's: a slow program on a busy host does not hang. If the
/// kernel does not say (there is no /proc/PID/schedstat), all time counts in which the process was not
/// stopped.
class given_time {
 public:
  using clock = std::chrono::steady_clock;

  /// @param proc  where the kernel describes processes; tests have their own
  given_time(pid_t process, clock::time_point now, const std::string& proc = "/proc");

  /// Returns all the time given to the process since the first look. Call it several times a second; extra
  /// calls cost nothing.
  clock::duration look(clock::time_point now);

 private:
  struct thread {
    std::string number = {};
    char state = 0;
    std::uint64_t ran = 0, waited = 0;  // in nanoseconds, since its start
  };
  using threads = std::vector<thread>;

  threads look_at_threads() const;
  thread look_at_thread(const std::string& number) const;
  clock::duration given(const threads& before, clock::duration passed) const;

  std::string tasks_;
  clock::time_point looked_;
  threads threads_;
  clock::duration total_{};
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/base/given_time.ipp"
#endif
