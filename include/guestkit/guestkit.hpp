// The header to include: guestkit::Guestfs with every action, its events, its errors.
//
// Who needs more includes it besides, and nobody else compiles it:
//   open_disk.hpp   Guestfs::open_disk(): disks that somebody else has written
//   inspect.hpp     inspect(): everything known about the operating systems on a guest's disks
//   guest.hpp       mount_guest(): a guest's filesystems where its operating system has them
//   files.hpp       read_small(), read_files(), walk(), extract(): a guest's files
//   image.hpp       probe(): what a disk image is, from its header; needs no libguestfs
//   async.hpp       AsyncGuestfs: every call returns a boost::future
//
// Why so much in these headers is a template with nothing to choose, such as basic_handle<> or what begins
// with `template <class = void>`: of a plain class or inline function a compiler compiles the body, with all
// of the standard library that it uses; of a template only what the program calls. For the same reason
// posix.hpp, condition.hpp and callback.hpp stand for <filesystem>, <fstream>, <condition_variable>, <thread>
// and <functional>. benchmarks/include_cost.py has the budget.
#pragma once

#include "guestkit/detail/turn/admission.hpp"
#include "guestkit/error.hpp"
#include "guestkit/event.hpp"
#include "guestkit/guestfs.hpp"
#include "guestkit/launch_error.hpp"
#include "guestkit/version.hpp"
