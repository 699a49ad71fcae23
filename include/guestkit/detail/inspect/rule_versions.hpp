// Which versions of libguestfs have the rules that guestkit knows.
//
// The rules change from version to version. Those here were read in libguestfs' source, and the differential
// test (tests/appliance/test_corpus.py) has compared them with the answers of an installed libguestfs. In any
// other version libguestfs itself inspects.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/generated/structs.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// A version of libguestfs: major, minor, release.
using libguestfs_version = std::array<std::int64_t, 3>;

/// Versions that have the same rules.
struct proven_versions {
  libguestfs_version from;    ///< the one that was compared
  libguestfs_version before;  ///< the next series; stable series only get fixes
};

/// Another row needs a run of the corpus, in its long form, with that version installed.
inline constexpr std::array<proven_versions, 3> all_proven_versions{
    {{{1, 48, 6}, {1, 49, 0}},    // Debian 12
     {{1, 54, 1}, {1, 55, 0}},    // Debian 13
     {{1, 60, 1}, {1, 61, 0}}}};  // its successor

/// The version in numbers, without what a distribution adds.
libguestfs_version numbers_of(const Version& version);

/// Why guestkit's rules must not decide with this version; empty if they may. A build whose version a
/// distribution has extended may have other rules.
std::string unknown_rules(const Version& version);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/rule_versions.ipp"
#endif
