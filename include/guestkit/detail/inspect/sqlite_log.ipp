#pragma once

#include <cstddef>

#include "guestkit/detail/inspect/sqlite_log.hpp"
#include "guestkit/detail/inspect/untrusted_bytes.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// The checksum of everything in a log so far.
class log_checksum {
 public:
  explicit log_checksum(bool is_big) : is_big_(is_big) {}

  /// @param count  a multiple of 8
  void add(const untrusted_bytes& bytes, std::size_t at, std::size_t count) {
    const auto word = [&](std::size_t place) { return is_big_ ? bytes.be32(place) : bytes.le32(place); };
    for (const auto end = at + count; at < end; at += 8) {
      first_ += word(at) + second_;
      second_ += word(at + 4) + first_;
    }
  }

  bool is_at(const untrusted_bytes& bytes, std::size_t at) const {
    return bytes.be32(at) == first_ && bytes.be32(at + 4) == second_;
  }

 private:
  bool is_big_;
  std::uint32_t first_ = 0, second_ = 0;
};

GUESTKIT_INLINE std::map<std::uint32_t, std::uint64_t> pages_in_log(partial_file& log,
                                                                    std::uint32_t page_size) {
  constexpr std::size_t log_head = 32, frame_head = 24;
  constexpr std::uint32_t magic = 0x377f0682;  // plus 1 if the checksums take words as big-endian
  std::map<std::uint32_t, std::uint64_t> committed, pending;
  if (log.size() < log_head) return committed;
  const untrusted_bytes head(log.bytes(0, log_head));
  log_checksum sum(head.be32(0) == magic + 1);
  sum.add(head, 0, 24);
  if ((head.be32(0) & ~1U) != magic || head.be32(8) != page_size || !sum.is_at(head, 24)) return committed;
  const auto frame_size = frame_head + page_size;
  for (std::uint64_t at = log_head; log.size() - at >= frame_size; at += frame_size) {
    const untrusted_bytes frame(log.bytes(at, frame_size));
    sum.add(frame, 0, 8);
    sum.add(frame, frame_head, page_size);
    const bool is_of_this_log = frame.bytes(8, 8) == head.bytes(16, 8);
    if (!is_of_this_log || !sum.is_at(frame, 16)) break;
    pending[frame.be32(0)] = at + frame_head;
    const bool commits = frame.be32(4) != 0;
    if (!commits) continue;
    for (const auto& [page, place] : pending) committed[page] = place;
    pending.clear();
  }
  return committed;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
