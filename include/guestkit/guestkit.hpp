// The header to include: guestkit::Guestfs with every action, its events and its errors.
//
// More is in separate headers: open_disk.hpp, inspect.hpp, guest.hpp, files.hpp, mounted.hpp and image.hpp
// for disks and guests; inspect_many.hpp and async.hpp for programs with many of them. docs/cpp.md shows them
// all.
#pragma once

#include "guestkit/appliance_limit.hpp"
#include "guestkit/error.hpp"
#include "guestkit/event.hpp"
#include "guestkit/guestfs.hpp"
#include "guestkit/launch_error.hpp"
#include "guestkit/version.hpp"
