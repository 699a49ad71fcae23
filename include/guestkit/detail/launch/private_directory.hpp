// Directories whose contents can be trusted, since no other user can change them.
#pragma once

#include <sys/types.h>

#include <string>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Why the contents of a directory must not be trusted; empty if they may. A trusted directory belongs to
/// this user alone, or to root (then others may read it), and no other user can replace it.
std::string private_directory_fault(const std::string& path);

/// Makes a directory and its missing parents with that mode, whatever the umask is. Returns why that cannot
/// be done; empty if the directory is there. Makes nothing in a directory of another user: those that root
/// made would keep that user from making their own.
std::string make_directory(const std::string& path, mode_t mode);

/// The same, and the directory must be one whose contents can be trusted, and writable. Where it is not,
/// nothing that was made for it is left.
std::string make_private_directory(const std::string& path, mode_t mode);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/launch/private_directory.ipp"
#endif
