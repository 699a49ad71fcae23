// Whether another program writes to a disk image. QEMU and its tools tell each other by locks on single bytes
// of the file (block/file-posix.c of QEMU); a program that takes none, such as VirtualBox, goes
// unnoticed.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <string>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// QEMU locks the byte 100 + n for a permission that it has, and 200 + n for one that nobody else may have.
/// Permission 1 is to write.
enum class qemu_lock : off_t { writes = 101, allows_no_writer = 201 };

/// Whether another open file holds that lock. Also false where the file system knows no locks.
bool is_held(int fd, qemu_lock byte) noexcept;

/// The program that holds QEMU's locks on the file, such as "qemu-nbd (process 4711)", as far as this user
/// may see it. Looks at /proc alone: a file system that does not answer cannot make it hang.
std::string user_of(const struct stat& file);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/image/in_use.ipp"
#endif
