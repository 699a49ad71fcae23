#pragma once

#include <algorithm>
#include <string_view>
#include <utility>

#include "guestkit/detail/base/given_time.hpp"
#include "guestkit/detail/base/host_files.hpp"
#include "guestkit/detail/base/text.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE given_time::given_time(pid_t process, clock::time_point now, const std::string& proc)
    : tasks_(proc + '/' + std::to_string(process) + "/task"), looked_(now), threads_(look_at_threads()) {}

GUESTKIT_INLINE given_time::clock::duration given_time::look(clock::time_point now) {
  constexpr std::chrono::milliseconds interval{40};
  if (now - looked_ < interval) return total_;
  const auto passed = now - std::exchange(looked_, now);
  const auto before = std::exchange(threads_, look_at_threads());
  total_ += given(before, passed);
  return total_;
}

GUESTKIT_INLINE given_time::threads given_time::look_at_threads() const {
  threads found;
  for (const auto& number : host_names_in(tasks_)) found.push_back(look_at_thread(number));
  return found;
}

GUESTKIT_INLINE given_time::thread given_time::look_at_thread(const std::string& number) const {
  thread found{.number = number};
  const std::string stat = read_text(tasks_ + '/' + number + "/stat");  // NUMBER (NAME) STATE …
  if (const auto end = stat.rfind(") "); end != std::string::npos && end + 2 < stat.size())
    found.state = stat[end + 2];
  const std::string times = read_text(tasks_ + '/' + number + "/schedstat");
  std::string_view fields = times;
  if (!read_number(take_word(fields), found.ran) || !read_number(take_word(fields), found.waited))
    found.ran = found.waited = 0;
  return found;
}

GUESTKIT_INLINE given_time::clock::duration given_time::given(const threads& before,
                                                              clock::duration passed) const {
  using std::chrono::nanoseconds;
  nanoseconds ran{}, waited{};
  bool held = false;
  for (const auto& now : threads_) {
    thread then;
    for (const auto& earlier : before)
      if (earlier.number == now.number && earlier.ran <= now.ran) then = earlier;
    const nanoseconds ran_now(now.ran - then.ran), waited_now(now.waited - then.waited);
    ran = std::max(ran, ran_now);
    waited = std::max(waited, waited_now);
    held = held || now.state == 'T' || now.state == 't' || now.state == 'D' ||
           (now.state == 'R' && now.ran != 0 && ran_now.count() == 0);  // was ready all the while
  }
  ran = std::min<nanoseconds>(ran, passed);
  // A caller that looks so late was itself stopped or starved, and perhaps the process was too.
  constexpr clock::duration longest = std::chrono::milliseconds(200);
  const clock::duration could = std::min<clock::duration>(held ? ran : passed - waited, longest);
  return std::max<clock::duration>(could, ran);
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
