// The actions on a handle that somebody else owns.
#pragma once

#include <memory>
#include <utility>

#include "guestkit/detail/base/action.hpp"
#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/call/call.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Makes the calls on a handle owned by somebody else; results are values.
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

}  // namespace guestkit::inline GUESTKIT_FORM::detail
