// The actions as values on a handle of any kind: what is written once serves Guestfs and the Python handle.
#pragma once

#include <cerrno>
#include <memory>
#include <optional>
#include <utility>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/generated/actions.hpp"
#include "guestkit/handle.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Makes the calls on a handle that somebody else owns.
class borrowed_core {
 public:
  template <class R>
  using result = R;

  explicit borrowed_core(std::shared_ptr<handle_state> state) : state_(std::move(state)) {}
  const std::shared_ptr<handle_state>& state() const noexcept { return state_; }

 protected:
  template <class R, class F, class... A>
  R call(const action& op, F fn, const A&... arguments) {
    return detail::call<R>(state_, op, fn, arguments...).lift();
  }

 private:
  std::shared_ptr<handle_state> state_;
};

/// A class template like Guestfs, so that a program that does not use it does not compile it.
template <class Core = borrowed_core>
using borrowed = actions<Core>;

/// Whether the error is the end of the whole work and not only of the call that failed.
inline bool is_final(const Error& error) noexcept {
  return error.error_number() == EINTR || dynamic_cast<const ApplianceCrashed*>(&error) != nullptr ||
         dynamic_cast<const HandleClosed*>(&error) != nullptr ||
         dynamic_cast<const CallTimeout*>(&error) != nullptr;
}

/// Does it; returns the error that it ended with, unless that is the end of everything.
template <class F>
std::optional<Error> attempt(F&& body) {
  try {
    body();
    return std::nullopt;
  } catch (const Error& error) {
    if (is_final(error)) throw;
    return error;
  }
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
