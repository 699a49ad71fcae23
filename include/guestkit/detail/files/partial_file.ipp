#pragma once

#include <algorithm>
#include <cerrno>
#include <utility>

#include "guestkit/detail/base/doubt.hpp"
#include "guestkit/detail/files/partial_file.hpp"
#include "guestkit/detail/files/reading.hpp"
#include "guestkit/detail/state/handle_state.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE std::string partial_file::bytes(std::uint64_t at, std::size_t count) {
  if (at > size_ || count > size_ - at) throw doubt{"content beyond the end of the file"};
  if (look_) look_();
  spend(read_, count);
  std::string all;
  all.reserve(count);
  while (all.size() < count) {
    const auto here = at + all.size();
    const auto& found = piece_at(here);
    all.append(found.bytes, static_cast<std::size_t>(here - found.at), count - all.size());
  }
  return all;
}

GUESTKIT_INLINE void partial_file::spend(std::uint64_t& spent, std::size_t count) const {
  if (count > most_ - spent)
    throw doubt{"more content than the " + std::to_string(most_) + " bytes that are read"};
  spent += count;
}

GUESTKIT_INLINE const partial_file::piece& partial_file::piece_at(std::uint64_t at) {
  const auto found =
      std::ranges::find_if(pieces_, [at](const auto& one) { return one.at <= at && at < one.end(); });
  if (found != pieces_.end()) {
    pieces_.splice(pieces_.begin(), pieces_, found);
    return pieces_.front();
  }
  auto from = at - at % least_;  // what belongs together may also be before
  for (const auto& one : pieces_)
    if (one.end() <= at) from = std::max(from, one.end());
  const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(size_of_piece_at(at), size_ - from));
  spend(fetched_, count);
  auto content = fetch_(from, count);
  if (content.size() <= at - from) throw doubt{"less content than its size tells"};
  kept_ += content.size();
  pieces_.push_front({.at = from, .bytes = std::move(content)});
  for (; kept_ > most_kept && pieces_.size() > 1; pieces_.pop_back()) kept_ -= pieces_.back().bytes.size();
  return pieces_.front();
}

GUESTKIT_INLINE std::size_t partial_file::size_of_piece_at(std::uint64_t at) const {
  constexpr std::uint64_t skipped = std::uint64_t{256} << 10U;
  for (const auto& one : pieces_)
    if (at >= one.end() && at - one.end() <= skipped)
      return std::clamp(2 * one.bytes.size(), least_, pread_most);
  return least_;
}

GUESTKIT_INLINE partial_file::fetcher fetcher_of(guest_actions& g, const std::string& path) {
  return [&g, path](std::uint64_t at, std::size_t count) {
    return std::string(read_part(g, path, at, count).view());
  };
}

GUESTKIT_INLINE partial_guest_file::partial_guest_file(guest_actions& g, const std::string& path,
                                                       std::uint64_t size, std::uint64_t most,
                                                       std::size_t least)
    : partial_file(size, most, fetcher_of(g, path), least,
                   [&g] { g.state()->turns->throw_if_stopped("pread", "", EINTR, {}); }) {}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
