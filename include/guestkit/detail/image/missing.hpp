// Guesses what the user meant by the name of a missing disk: a URL, a path in the guest, a slightly different
// name. Only for names from the user: an error about a name from an image must reveal nothing about the
// host's files.
#pragma once

#include <string>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/image/file.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Opens a disk by the user's name for it; if it is missing, the error suggests what may have been meant.
image_file open_named(const char* op, const std::string& path);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/image/missing.ipp"
#endif
