// What the user meant by the name of a disk that is not there: a URL, a path in the guest, a name that is
// slightly different. Only for names that the user gives: what an image names must reveal nothing about the
// host's files.
#pragma once

#include <string>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/image/file.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Opens a disk by the name that the user gave; the error tells what may have been meant.
image_file open_named(const char* op, const std::string& path);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/image/missing.ipp"
#endif
