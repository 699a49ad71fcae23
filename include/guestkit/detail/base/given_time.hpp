// The time that the host has given a process: how long it may take until it counts as hanging.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/base/posix.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Tells how much of the time that goes by a process could use. Time in which it waits for a processor, is
/// stopped, or waits for the host's disks is the host's affair: on a busy host, a program that takes long
/// does not hang. Where the kernel does not tell (no /proc/PID/schedstat), all time counts that it was not
/// stopped.
class given_time {
 public:
  using clock = std::chrono::steady_clock;

  /// @param proc  where the kernel tells of processes: tests have their own
  given_time(pid_t process, clock::time_point now, std::string proc = "/proc")
      : tasks_(std::move(proc) + '/' + std::to_string(process) + "/task"), looked_(now) {
    look_at_threads();
  }

  /// Returns all that the process was given since the first look. To be called several times a second; more
  /// often costs nothing, since it then looks now and then only.
  clock::duration look(clock::time_point now) {
    constexpr std::chrono::milliseconds interval{40};
    if (now - looked_ < interval) return total_;
    const auto passed = now - std::exchange(looked_, now);
    const auto before = std::exchange(threads_, {});
    look_at_threads();
    total_ += given(before, passed);
    return total_;
  }

 private:
  struct thread {
    char state = 0;
    std::uint64_t ran = 0, waited = 0;  // in nanoseconds, since its start
  };
  using threads = std::map<std::string, thread>;

  void look_at_threads() {
    each_name(tasks_, [&](std::string_view name) { threads_.emplace(name, thread_of(std::string(name))); });
  }

  thread thread_of(const std::string& name) const {
    thread found;
    const std::string stat = read_text(tasks_ + '/' + name + "/stat");  // NUMBER (NAME) STATE …
    if (const auto end = stat.rfind(") "); end != std::string::npos && end + 2 < stat.size())
      found.state = stat[end + 2];
    const std::string times = read_text(tasks_ + '/' + name + "/schedstat");
    std::string_view fields = times;
    if (!read_number(take_word(fields), found.ran) || !read_number(take_word(fields), found.waited))
      found.ran = found.waited = 0;
    return found;
  }

  clock::duration given(const threads& before, clock::duration passed) const {
    using std::chrono::nanoseconds;
    nanoseconds ran{}, waited{};
    bool held = false;
    for (const auto& [name, now] : threads_) {
      const auto known = before.find(name);
      const bool same = known != before.end() && known->second.ran <= now.ran;
      const thread then = same ? known->second : thread{};
      const nanoseconds ran_now(now.ran - then.ran), waited_now(now.waited - then.waited);
      if (ran_now > ran) ran = ran_now;
      if (waited_now > waited) waited = waited_now;
      held = held || now.state == 'T' || now.state == 't' || now.state == 'D' ||
             (now.state == 'R' && now.ran != 0 && ran_now.count() == 0);  // waits for its turn all the while
    }
    if (ran > passed) ran = passed;
    // Who looks so late was stopped or starved itself, and the process perhaps too.
    constexpr clock::duration longest = std::chrono::milliseconds(200);
    clock::duration could = held ? ran : passed - waited;
    if (could > longest) could = longest;
    return could < ran ? ran : could;
  }

  std::string tasks_;
  clock::time_point looked_;
  threads threads_;
  clock::duration total_{};
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail
