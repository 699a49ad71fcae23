// The actions on a handle of its own, as Guestfs has them. docs/architecture.md compares the Cores.
#pragma once

#include "guestkit/detail/base/action.hpp"
#include "guestkit/detail/base/form.hpp"
#include "guestkit/handle.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Results as C++ values.
class value_core : public handle {
 public:
  using handle::handle;
  template <class R>
  using result = R;

 protected:
  template <class R, class F, class... A>
  R call(const action& op, F fn, const A&... arguments) {
    return invoke<R>(op, fn, arguments...).lift();
  }
  template <class R, class F, class... A>
  R give(const action& op, F fn, const A&... arguments) {
    return add<R>(op, fn, arguments...).lift();
  }
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail
