// The only way into libguestfs. Every action goes through attempt(): it converts the arguments to C, makes
// the call, checks it, takes the error on this thread, and owns the result. call() throws the error; the
// Python module does not, because a C++ exception costs ten times as much as the call.
//
// Threads: any thread may call on a handle at any time; the calls of one handle run one after the other. A
// handle that is closing waits for calls already inside and refuses new ones.
#pragma once

#include <guestfs.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "guestkit/detail/base/action.hpp"
#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/call/convert.hpp"
#include "guestkit/detail/state/handle_state.hpp"
#include "guestkit/error.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// The calling thread's turn on a handle, held across several calls that belong together and are stopped
/// together.
class turn {
 public:
  /// @param op      the name of the whole, for what is said to those who wait
  /// @param caller  the thread that waits for what this one does; 0: this one itself
  turn(std::shared_ptr<handle_state> state, const char* op, pid_t caller = 0);
  turn(const turn&) = delete;
  turn& operator=(const turn&) = delete;
  ~turn() { state_->turns->leave(); }

 private:
  std::shared_ptr<handle_state> state_;
};

/// One call on a handle, from entry to exit, with the error that it caused.
class call_scope {
 public:
  /// @param takes_turn  false for what must not wait for the running call
  call_scope(std::shared_ptr<handle_state> state, const action& op, bool takes_turn = true);
  call_scope(const call_scope&) = delete;
  call_scope& operator=(const call_scope&) = delete;
  ~call_scope();

  /// For a call of libguestfs, so this is one of its actions, and no operation of guestkit's own.
  guestfs_h* h() noexcept {
    calls_libguestfs_ = true;
    return state_->h;
  }

  /// Refuses the call if the next descriptors are too high for select(): libguestfs would abort the process.
  void refuse_high_descriptors();

  /// Keeps a secret argument out of every log line and error. libguestfs hides encryption keys itself.
  template <class A>
  void hide_secrets(const A& argument) {
    if constexpr (requires { argument.secret; })
      if (argument.secret) state_->output.console.hide(*argument.secret);
  }

  /// The call has failed: returns libguestfs' error. Throws if there is more to it: the call was stopped, the
  /// appliance has died, or it did not start.
  Error error() const;

 private:
  struct of_thread;
  static of_thread& here() noexcept;
  const char* users_op() const noexcept;
  static void take(guestfs_h* h, void*, const char* message) noexcept;

  std::shared_ptr<handle_state> state_;
  action op_;
  bool takes_turn_;
  bool calls_libguestfs_ = false;
  call_scope* outer_ =
      nullptr;  // the call whose callback makes this one, or the operation that it is part of
  std::string message_;
  int number_ = 0;
};

/// What a call gave: its result, or libguestfs' error.
template <class R>
class [[nodiscard]] outcome {
 public:
  template <class... C>
  requires std::is_constructible_v<c_result<R>, C...>
  explicit outcome(C&&... c) : result_(std::in_place, std::forward<C>(c)...) {}
  explicit outcome(Error error) : error_(std::make_unique<Error>(std::move(error))) {}

  /// Null if the call succeeded.
  const Error* error() const noexcept { return error_.get(); }
  /// The result of a call that succeeded.
  const c_result<R>& operator*() const noexcept { return *result_; }

  /// The result; throws the error.
  c_result<R> get() && {
    if (error_) throw std::move(*error_);
    return *std::move(result_);
  }

 private:
  std::optional<c_result<R>> result_;
  std::unique_ptr<Error> error_;
};

/// Calls fn in a scope that is open.
template <class R, class C, class... P, class... A>
outcome<R> attempt(call_scope& scope, C (*fn)(guestfs_h*, P...), const A&... arguments) {
  (scope.hide_secrets(arguments), ...);
  scope.refuse_high_descriptors();
  if constexpr (std::is_same_v<R, buffer>) {
    std::size_t size = 0;
    C c;
    if constexpr (std::is_invocable_v<decltype(fn), guestfs_h*, decltype(lower(arguments))..., std::size_t*>)
      c = fn(scope.h(), lower(arguments)..., &size);
    else  // only inspect_get_icon has its options after the size
      c = [&](const auto& root, const auto& options) {
        return fn(scope.h(), lower(root), &size, lower(options));
      }(arguments...);
    if (c_result<R>::failed(c)) return outcome<R>(scope.error());
    return outcome<R>(c, size);
  } else {
    C c = fn(scope.h(), lower(arguments)...);
    if (c_result<R>::failed(c)) return outcome<R>(scope.error());
    return outcome<R>(c);
  }
}

/// Calls fn; throws if the call is refused or stopped, and if the appliance is dead.
template <class R, class F, class... A>
outcome<R> attempt(const std::shared_ptr<handle_state>& state, const action& op, F fn,
                   const A&... arguments) {
  call_scope scope(state, op);
  return attempt<R>(scope, fn, arguments...);
}

/// Calls fn and returns its result; throws every error.
template <class R, class F, class... A>
c_result<R> call(const std::shared_ptr<handle_state>& state, const action& op, F fn, const A&... arguments) {
  return attempt<R>(state, op, fn, arguments...).get();
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/call/call.ipp"
#endif
