// Reads parts of a large file of a guest with few messages: each costs about as much as 100 KB of content.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <string>
#include <utility>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/files/guest_actions.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Fetches what is asked for and a piece behind it, which grows as long as the reader goes on from there.
class partial_file {
 public:
  /// Returns these bytes of the file, or fewer at its end.
  using fetcher = std::function<std::string(std::uint64_t at, std::size_t count)>;

  /// @param most  how many bytes may be fetched altogether, and how many may be read, again and again
  /// @param least  how many bytes are fetched where the reader has not been before
  /// @param look  is called whenever something is read, and throws to end that
  partial_file(std::uint64_t size, std::uint64_t most, fetcher fetch, std::size_t least = usual_least,
               std::function<void()> look = {})
      : size_(size), most_(most), fetch_(std::move(fetch)), least_(least), look_(std::move(look)) {}
  partial_file(const partial_file&) = delete;
  partial_file& operator=(const partial_file&) = delete;

  static constexpr std::size_t usual_least = std::size_t{64} << 10U;

  std::uint64_t size() const noexcept { return size_; }

  /// Exactly these bytes; throws doubt if they are not all in the file.
  std::string bytes(std::uint64_t at, std::size_t count);

 private:
  static constexpr std::uint64_t most_kept = std::uint64_t{16} << 20U;

  struct piece {
    std::uint64_t at;
    std::string bytes;

    std::uint64_t end() const noexcept { return at + bytes.size(); }
  };

  void spend(std::uint64_t& spent, std::size_t count) const;

  /// The piece with that byte.
  const piece& piece_at(std::uint64_t at);
  std::size_t size_of_piece_at(std::uint64_t at) const;

  std::uint64_t size_, most_;
  fetcher fetch_;
  std::size_t least_;
  std::function<void()> look_;
  std::uint64_t fetched_ = 0, read_ = 0, kept_ = 0;
  std::list<piece> pieces_ = {};  ///< the one used last comes first
};

/// Fetches from a guest's file, which must be known to be a regular one.
partial_file::fetcher fetcher_of(guest_actions& g, const std::string& path);

/// The same file, read in part. A call that was stopped ends at the next read, even if nothing has to be
/// fetched for it: what a guest wrote can keep a reader busy with few pages.
class partial_guest_file : public partial_file {
 public:
  partial_guest_file(guest_actions& g, const std::string& path, std::uint64_t size, std::uint64_t most,
                     std::size_t least = usual_least);
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/files/partial_file.ipp"
#endif
