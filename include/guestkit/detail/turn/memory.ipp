#pragma once

#include <algorithm>
#include <string_view>

#include "guestkit/detail/base/host_files.hpp"
#include "guestkit/detail/base/text.hpp"
#include "guestkit/detail/turn/control_groups.hpp"
#include "guestkit/detail/turn/memory.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// The number in a one-word file; unknown if the word is "max" or the file does not exist.
inline std::uint64_t number_in_file(const std::string& path) {
  const std::string text = read_text(path);
  std::string_view rest = text;
  std::uint64_t number = 0;
  return read_number(take_word(rest), number) ? number : memory_unknown;
}

/// The number after a word at the beginning of a line, as in /proc/meminfo and memory.stat.
inline std::uint64_t number_after(const std::string& path, std::string_view word) {
  const std::string text = read_text(path);
  for (std::string_view rest = text; !rest.empty();) {
    auto line = take_until(rest, '\n');
    if (take_word(line) != word) continue;
    if (std::uint64_t number = 0; read_number(take_word(line), number)) return number;
  }
  return memory_unknown;
}

/// What a control group has left of its limit; caches that can be dropped count as free.
inline std::uint64_t group_room(const std::string& group, const char* limit, const char* usage,
                                std::string_view cache) {
  const auto most = number_in_file(group + limit), used = number_in_file(group + usage);
  if (most == memory_unknown || used == memory_unknown) return memory_unknown;
  const auto spare = number_after(group + "/memory.stat", cache);
  const auto needed = spare == memory_unknown ? used : used - std::min(spare, used);
  return most - std::min(needed, most);
}

GUESTKIT_INLINE std::uint64_t available_memory(const std::string& root) {
  const auto machine = number_after(root + "/proc/meminfo", "MemAvailable:");
  auto room = machine == memory_unknown ? machine : machine * 1024;
  for_each_control_group(root, "memory", [&](const std::string& group, bool second) {
    const auto left =
        second ? group_room(group, "/memory.max", "/memory.current", "inactive_file")
               : group_room(group, "/memory.limit_in_bytes", "/memory.usage_in_bytes", "total_inactive_file");
    room = std::min(room, left);
  });
  return room;
}

GUESTKIT_INLINE std::uint64_t appliance_memory(ApplianceMode mode, int raised) noexcept {
  constexpr std::uint64_t mb = 1U << 20U;
  const std::uint64_t usual = mode == ApplianceMode::system || mode == ApplianceMode::fixed ? 768 : 448;
  return (usual + static_cast<std::uint64_t>(std::max(raised, 0))) * mb;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
