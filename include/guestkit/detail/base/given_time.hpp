// The time that the host has given a process: how long it may take until it counts as hanging.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <string>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Tells how much of the time that passes a process could use. While it waits for a processor, is stopped, or
/// waits for the host's disks, it is the host that takes the time: on a busy host, a program that takes long
/// does not hang. Where the kernel does not tell (there is no /proc/PID/schedstat), all time counts in which
/// the process was not stopped.
class given_time {
 public:
  using clock = std::chrono::steady_clock;

  /// @param proc  where the kernel tells of processes: tests have their own
  given_time(pid_t process, clock::time_point now, const std::string& proc = "/proc");

  /// Returns all that the process was given since the first look. Call it several times a second; calls in
  /// between cost nothing.
  clock::duration look(clock::time_point now);

 private:
  struct thread {
    char state = 0;
    std::uint64_t ran = 0, waited = 0;  // in nanoseconds, since its start
  };
  using threads = std::map<std::string, thread>;

  threads look_at_threads() const;
  thread thread_of(const std::string& name) const;
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
