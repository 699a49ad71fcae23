// guestkit's own operations on a guest, each as one call of a Python handle.
#pragma once

#include <guestkit/detail/files/guest_actions.hpp>

#include "handle.hpp"
#include "signals.hpp"

namespace guestkit::python {

/// Runs it without the GIL, on actions whose results are values, and returns its result.
/// @param op    the name of the call for limits, turns and errors
/// @param slow  whether it usually takes seconds; see interruptible()
template <class F>
auto on_guest(Handle& handle, const detail::action& op, bool slow, const F& body) {
  return interruptible(handle, slow, [&] {
    detail::guest_actions guest(state_of(handle));
    const detail::call_scope scope(guest.state(), op);
    return body(guest);
  });
}

}  // namespace guestkit::python
