// blkid's answers as the disk has them: `blkid -o export`, which libguestfs asks, escapes them for a shell
// and a terminal.
#pragma once

#include <string>
#include <string_view>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Whether the answer does not tell what the disk has: blkid writes control characters as ^A and bytes beyond
/// ASCII as M-a, and the characters ^, M and - as themselves.
bool is_ambiguous(std::string_view answer);

/// The answer without the backslashes.
std::string without_backslashes(std::string_view answer);

/// The name of a partition: in GPT it is UTF-16, so that what looks like a whole character of UTF-8 is one.
std::string partition_name(std::string_view answer);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/blkid.ipp"
#endif
