// What is behind failures of the host that several rooms meet.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/error.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// The remedy for a TMPDIR that cannot be written.
inline constexpr std::string_view no_temporary_files =
    "temporary files cannot be written: set TMPDIR to a directory that this user can write, with some GB "
    "free";

/// What to do about a file that could not be opened for this errno, if that was for want of descriptors or
/// memory, whichever file it was.
std::optional<Diagnosis> scarcity(int error_number);

/// What is behind libguestfs' complaint that it cannot write its own files; unknown if it is another one.
Diagnosis complaint_of_own_files(const std::string& message);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/base/diagnosis.ipp"
#endif
