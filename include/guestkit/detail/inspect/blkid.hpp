// Recovers the original texts from blkid's answers: libguestfs runs `blkid -o export`, which escapes them for
// a shell and a terminal.
#pragma once

#include <string>
#include <string_view>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Whether the original cannot be recovered from the answer: blkid writes control characters as ^A and bytes
/// beyond ASCII as M-a, but leaves the characters ^, M and - unescaped.
bool is_ambiguous(std::string_view answer);

/// The answer without the backslashes.
std::string without_backslashes(std::string_view answer);

/// The name of a partition. In GPT it is UTF-16, so whatever looks like a whole UTF-8 character is one.
std::string partition_name(std::string_view answer);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/blkid.ipp"
#endif
