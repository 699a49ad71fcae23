// The calls to libguestfs that a launch makes.
#pragma once

#include <memory>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/call/call.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Makes a call to libguestfs as part of the launch, within its limit. If it fails, throws LaunchError.
template <class R, class F, class... A>
R launch_call(const std::shared_ptr<handle_state>& state, F fn, const A&... arguments) {
  return call<R>(state, "launch", fn, arguments...).lift();
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
