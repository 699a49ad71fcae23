// Whether somebody else uses a disk. QEMU and its tools signal to each other that they write to an image,
// with locks on single bytes of the file (block/file-posix.c in QEMU). A program that takes no locks, such as
// VirtualBox, goes unnoticed. The kernel tells whether the host itself uses a device.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <string>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// QEMU locks byte 100 + n for a permission that it uses, and byte 200 + n for one that it denies to others.
/// Permission 1 is writing.
enum class qemu_lock : off_t { writes = 101, allows_no_writer = 201 };

/// Whether another open file holds that lock. False if the file system does not support locks.
bool is_held(int fd, qemu_lock byte) noexcept;

/// Whether the host itself uses a block device, or a part of it: has mounted it, swaps to it, or has made it
/// a part of an LVM volume or a RAID. False for a regular file, and for a device that nobody can write to.
/// Takes 8 ms if it does: whoever has claimed the device may only be looking.
/// @param fd  of the device
bool is_claimed_by_host(int fd);

/// The program that holds QEMU's locks on the file, such as "qemu-nbd (process 4711)", as far as this user
/// can see it. Reads only /proc, so a file system that does not respond cannot make it hang.
std::string user_of(const struct stat& file);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/image/in_use.ipp"
#endif
