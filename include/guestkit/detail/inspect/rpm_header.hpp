// The header of an rpm package, as databases have it: an index, and the values that it points to. All numbers
// are big-endian. What a report needs lies at the beginning, before the lists of files and changes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/generated/inspection.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// How many bytes of a header rpm_application() needs. If that is more than it was given, it may need even
/// more of them once it has these.
/// @param start  the first bytes of the header; at least 8
/// @param size  of the whole header
std::size_t rpm_bytes_needed(std::string_view start, std::uint64_t size);

/// A package from the first bytes of its header, with the values that librpm prints for libguestfs: "(none)"
/// for a missing one, and of translated ones the first. Vendor and licence, which libguestfs leaves out, are
/// empty if they are missing.
/// @param start  as many bytes as rpm_bytes_needed() wants
InspectedApplication rpm_application(std::string_view start, std::uint64_t size);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/inspect/rpm_header.ipp"
#endif
