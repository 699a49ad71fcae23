// fstab(5) as mount(8) reads it. A line that cannot be read is a failure in the report; the others still
// count.
//
// The text comes from the guest and is hostile: reading is bounded, and quotes in the report are escaped.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/generated/inspection.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// The most that is read of fstab. Real ones are a thousand times smaller.
inline constexpr std::size_t most_fstab_bytes = std::size_t{2} << 20U;
inline constexpr std::size_t most_fstab_entries = 500;

/// An entry of fstab, with its fields decoded.
struct fstab_entry {
  std::size_t line = 0;  ///< the line number, from 1
  std::string spec = {};
  std::string file = {};
  std::string type = {};
  std::string options = {};
  bool plain = true;  ///< whether every version of libguestfs reads the line as guestkit does
};

struct fstab_lines {
  std::vector<fstab_entry> entries = {};
  std::vector<InspectFailure> failures = {};
  bool breaks_augeas = false;  ///< whether some line may keep libguestfs from reading any of them
  bool is_cut = false;         ///< whether there are more entries or bytes than were read
};

/// What went wrong with a line, for the report.
InspectFailure line_failure(std::size_t line, const std::string& why);

/// Decodes octal escapes: \040 is a blank. Anything else stays as it is.
std::string without_octal_escapes(std::string_view text);

/// The value of an option such as subvol=; as in the kernel, the last one wins.
std::optional<std::string> option_of(std::string_view options, std::string_view name);

/// Parses the text. @param whole  whether it is the entire file
fstab_lines fstab_of(std::string_view text, bool whole = true);

/// crypttab(5): the underlying device of each opened one, by its name below /dev/mapper.
std::map<std::string, std::string> crypttab_of(std::string_view text);

/// Whether an entry cannot be for a filesystem on the guest's disks. libguestfs skips these too.
bool is_ignored(const fstab_entry& entry);

/// A path without doubled slashes and "."; nothing if it is not absolute or contains "..".
std::optional<std::string> plain_path(std::string_view path);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/fstab.ipp"
#endif
