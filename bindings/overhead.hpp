// What every call takes besides its work, for benchmarks/calls.py: python3-guestfs' calls keep the GIL, and
// need no turn.
#pragma once

#include "handle.hpp"

namespace guestkit::python {

/// The seconds that it takes to release the GIL and to take it back.
double gil_seconds(int rounds);
/// The seconds that a turn on the handle takes when no other thread wants one.
double turn_seconds(Handle& handle, int rounds);

}  // namespace guestkit::python
