#pragma once

#include <sched.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>

#include "guestkit/detail/base/host_files.hpp"
#include "guestkit/detail/base/text.hpp"
#include "guestkit/detail/turn/control_groups.hpp"
#include "guestkit/detail/turn/processors.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE unsigned available_processors(const std::string& root) {
  cpu_set_t mine;
  // The kernel refuses to tell where there are more than the 1024 that fit.
  const bool is_told = sched_getaffinity(0, sizeof mine, &mine) == 0;
  return processors_within_quotas(
      is_told ? static_cast<unsigned>(CPU_COUNT(&mine)) : std::thread::hardware_concurrency(), root);
}

GUESTKIT_INLINE unsigned processors_within_quotas(unsigned count, const std::string& root) {
  for_each_control_group(root, "cpu", [&](const std::string& group, bool second) {
    // Both in microseconds. Without a limit the quota is "max" or -1, which are no numbers.
    const auto limit =
        second ? read_text(group + "/cpu.max")
               : read_text(group + "/cpu.cfs_quota_us") + ' ' + read_text(group + "/cpu.cfs_period_us");
    std::string_view words = limit;
    std::uint64_t quota = 0, period = 0;
    if (!read_number(take_word(words), quota) || !read_number(take_word(words), period) || period == 0)
      return;
    const auto whole = quota / period + (quota % period == 0 ? 0 : 1);
    count = static_cast<unsigned>(std::min<std::uint64_t>(count, whole));
  });
  return std::max(1U, count);
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
