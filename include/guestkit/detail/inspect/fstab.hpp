// fstab(5) as mount(8) reads it. A line that cannot be read is a failure in the report; the others count.
//
// The text is the guest's: hostile. What is read is bounded, and what the report quotes of it is escaped.
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

/// What is read of fstab at most. Real ones are a thousand times smaller.
inline constexpr std::size_t most_fstab_bytes = std::size_t{2} << 20U;
inline constexpr std::size_t most_fstab_entries = 500;

/// Lines with a failure of their own in the report; those beyond share one.
inline constexpr std::size_t most_told_lines = 20;

/// An entry of fstab, its fields decoded.
struct fstab_entry {
  std::size_t line = 0;  ///< its number, from 1
  std::string spec = {};
  std::string file = {};
  std::string type = {};
  std::string options = {};
  bool plain = true;  ///< whether every libguestfs reads the line as guestkit does
};

struct fstab_lines {
  std::vector<fstab_entry> entries = {};
  std::vector<InspectFailure> failures = {};
  bool breaks_augeas = false;  ///< whether there are lines for which libguestfs may read none of them
  bool is_cut = false;         ///< whether there are more entries, or bytes, than are read
};

/// What went wrong with a line, for the report.
InspectFailure line_failure(std::size_t line, const std::string& why);

/// With its octal escapes decoded: \040 is a blank. What is no escape stays what it is.
std::string without_octal_escapes(std::string_view text);

/// The value of an option such as subvol=; the last one counts, as for the kernel.
std::optional<std::string> option_of(std::string_view options, std::string_view name);

/// Reads it. @param whole  whether the text is all of the file
fstab_lines fstab_of(std::string_view text, bool whole = true);

/// crypttab(5): what is beneath an opened device, by its name below /dev/mapper.
std::map<std::string, std::string> crypttab_of(std::string_view text);

/// Whether an entry is none of a filesystem that could be on the guest's disks: libguestfs leaves these out
/// too.
bool is_ignored(const fstab_entry& entry);

/// A path without doubled slashes and "."; nothing if it is no absolute one, or climbs by "..".
std::optional<std::string> plain_path(std::string_view path);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/fstab.ipp"
#endif
