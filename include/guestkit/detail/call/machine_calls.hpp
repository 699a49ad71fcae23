// Calls that change the machine of a handle, or the directory for its files.
#pragma once

#include <guestfs.h>

#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

#include "guestkit/detail/base/action.hpp"
#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/call/call.hpp"
#include "guestkit/detail/state/handle_state.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Makes a call that adds something to the machine, and records it in case the launch has to start over.
/// @param state  by value: the call's callbacks may destroy the handle that the caller has it from
template <class R, class F, class... A>
c_result<R> add_to_machine(std::shared_ptr<handle_state> state, const action& op, F fn,
                           const A&... arguments) {
  const turn mine(state, op.name);
  auto result = call<R>(state, op, fn, arguments...);
  machine::addition given{.disk = !op.is(call_kind::config), .repeat = {}};
  if constexpr ((std::is_pointer_v<A> || ...))  // a libvirt domain may be gone by then
    given.repeat = [](guestfs_h*) { return false; };
  else
    given.repeat = [fn, kept = std::tuple(keep(arguments)...)](guestfs_h* h) {
      return std::apply(
          [&](const auto&... a) { return !c_result<R>::failed(fn(h, lower(static_cast<A>(a))...)); }, kept);
    };
  state->machine.remember(std::move(given));
  return result;
}

/// Has libguestfs create its files in a private directory of ours, beneath the one that it would use itself.
void use_private_tmpdir(const std::shared_ptr<handle_state>& state);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/call/machine_calls.ipp"
#endif
