#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "guestkit/detail/base/doubt.hpp"
#include "guestkit/detail/inspect/rpm_database.hpp"
#include "guestkit/detail/inspect/untrusted_bytes.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE void read_rpm_ndb(partial_file& file, rpm_packages& all) {
  constexpr std::size_t page = 4096, slot = 16, block = 16, head = 16, tail = 12;
  constexpr std::uint32_t most_pages = 1024;  // of slots: for 262142 packages
  const untrusted_bytes first(file.bytes(0, std::min<std::uint64_t>(2 * slot, file.size())));
  if (first.size() < 2 * slot || first.bytes(0, 4) != "RpmP" || first.le32(4) != 0)
    throw doubt{"no header of ndb"};
  const auto pages = first.le32(12);
  if (pages == 0 || pages > most_pages) throw doubt{std::to_string(pages) + " pages of slots"};
  const untrusted_bytes slots(file.bytes(0, pages * page));
  struct blob {
    std::uint64_t at, size;
    std::uint32_t package;
  };
  std::vector<blob> blobs;
  for (auto at = 2 * slot; at < slots.size(); at += slot) {
    if (slots.bytes(at, 4) != "Slot") throw doubt{"a damaged slot"};
    if (slots.le32(at + 4) == 0) continue;  // unused
    blobs.push_back({.at = std::uint64_t{block} * slots.le32(at + 8),
                     .size = std::uint64_t{block} * slots.le32(at + 12),
                     .package = slots.le32(at + 4)});
  }
  std::ranges::stable_sort(blobs, {}, &blob::at);  // rpm does so, too
  for (const auto& one : blobs) {
    if (all.is_full()) return;
    all.read("package " + std::to_string(one.package), [&] {
      const untrusted_bytes begin(file.bytes(one.at, head));
      if (begin.bytes(0, 4) != "BlbS" || begin.le32(4) != one.package)
        throw doubt{"a blob of something else"};
      const std::uint64_t size = begin.le32(12);
      if (one.size < head + tail || size > one.size - head - tail) throw doubt{"a blob that is cut off"};
      all.add({.order = static_cast<std::int64_t>(one.at), .size = size, .start = [&](std::size_t count) {
                 return file.bytes(one.at + head,
                                   static_cast<std::size_t>(std::min<std::uint64_t>(count, size)));
               }});
    });
  }
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
