// Reads a guest's files and directories. What is read is bounded, and looked at before it is opened: a FIFO
// or a device might never end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/inspect/guest_actions.hpp"
#include "guestkit/generated/guest_files.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// As much as read_small() takes by default.
inline constexpr std::size_t small_file = std::size_t{2} << 20U;

/// What one message carries.
inline constexpr std::size_t pread_most = std::size_t{2} << 20U;

/// @param mode  as stat has it
FileKind kind_of(std::int64_t mode) noexcept;

/// The path of a name in a directory.
std::string joined(const std::string& directory, const std::string& name);

/// The content, if it is a regular file of at most that size. Anything else might hang or never end.
std::string read_small(guest_actions& g, const std::string& path, std::size_t limit = small_file);

/// The same; nothing if there is no such file, or none that can be read.
std::optional<std::string> find_small(guest_actions& g, const std::string& path,
                                      std::size_t limit = small_file);

/// Throws Error with EFBIG for a directory of more names than are read: a guest may have made millions.
void check_names_of(guest_actions& g, const std::string& directory);

/// The names in a directory, sorted; none if there is no such directory. Throws Error with EFBIG for too many
/// names.
string_list names_in(guest_actions& g, const std::string& directory);

/// The files in a directory, sorted by name; links are not followed.
std::vector<GuestFile> list_directory(guest_actions& g, const std::string& directory);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/reading.ipp"
#endif
