// Reads a guest's files and directories. Reading is bounded, and files are checked before they are opened: a
// FIFO or a device might never end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/files/guest_actions.hpp"
#include "guestkit/generated/guest_files.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// The default limit of read_small().
inline constexpr std::size_t small_file = std::size_t{2} << 20U;

/// The most that one message carries.
inline constexpr std::size_t pread_most = std::size_t{2} << 20U;

/// @param mode  as in stat
FileKind kind_of(std::int64_t mode) noexcept;

/// The path of a name in a directory.
std::string joined(const std::string& directory, const std::string& name);

/// The bytes of a file from there on, at most as many as are wanted or a message carries; none at its end.
/// Throws Error with EPROTO if the appliance answers with more: a guest may have taken it over.
buffer read_part(guest_actions& g, const std::string& path, std::uint64_t at, std::uint64_t wanted);

/// The target of a symlink. Throws Error with EPROTO if the appliance answers without one.
std::string link_target(guest_actions& g, const std::string& directory, const std::string& name);

/// The content of a regular file of at most that size. Anything else is refused: it might hang or never end.
std::string read_small(guest_actions& g, const std::string& path, std::size_t limit = small_file);

/// The same, of a file whose status is known.
/// @param status  symlinks followed
std::string read_small(guest_actions& g, const std::string& path, const StatNS& status, std::size_t limit);

/// The same; nothing if there is no such file or it cannot be read.
std::optional<std::string> find_small(guest_actions& g, const std::string& path,
                                      std::size_t limit = small_file);

/// Throws Error with EFBIG if a directory is too large to be read: a guest may have made millions of names.
/// Bounds the bytes, not the names: there may be twenty times as many if they are short.
/// @param size  of the directory, in bytes
/// @param most  for how many names of 128 bytes the directory may have room
void check_names(const std::string& directory, std::uint64_t size, std::size_t most);

/// The same, with the limit for the directories that an inspection reads.
void check_names_of(guest_actions& g, const std::string& directory);

/// The names in a directory. Throws Error if it cannot be read, with EIO if it is damaged.
string_list unsorted_names_in(guest_actions& g, const std::string& directory);

/// The names in a directory, sorted; none if it cannot be read, such as one that is not there or is damaged.
/// Throws Error with EFBIG for too many names.
string_list names_in(guest_actions& g, const std::string& directory);

/// The same; none if there are too many.
string_list few_names_in(guest_actions& g, const std::string& directory);

/// How much of a guest one task may list: a guest can make millions of names, and symlinks with targets of
/// 4 KB each.
class listing_limits {
 public:
  /// @param op, top    for the error: the task, and the path that it was given
  /// @param entries    how many files it may list
  /// @param path_bytes for all their paths and targets of symlinks together
  listing_limits(std::string op, std::string top, std::size_t entries, std::size_t path_bytes);

  /// Count what is listed. Throw Error with EFBIG if it is too much.
  void count_entries(std::size_t more);
  void count_path_bytes(std::size_t more);

 private:
  std::string op_, top_;
  std::size_t entries_, path_bytes_;
  std::size_t listed_ = 0, listed_path_bytes_ = 0;
};

/// The files in a directory, sorted by name; links are not followed. All names are read first, so the limits
/// bound the statuses and targets that it asks for: Error with EFBIG before there are much more. For the
/// names see check_names().
std::vector<GuestFile> list_directory(guest_actions& g, const std::string& directory, listing_limits& limits);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/files/reading.ipp"
#endif
