// The only way into libguestfs. Every action goes through call(): it converts the arguments to C, makes the
// call, checks it, takes the error on this thread, and owns the result.
//
// Threads: any thread may call on a handle at any time; the calls of one handle run one after the other. A
// handle that is closing waits for calls already inside and refuses new ones.
#pragma once

#include <guestfs.h>

#include <cstddef>
#include <memory>
#include <string>
#include <type_traits>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/call/action.hpp"
#include "guestkit/detail/call/convert.hpp"
#include "guestkit/detail/call/handle_state.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// The calling thread's turn on a handle, held across several calls that belong together and are stopped
/// together.
class turn {
 public:
  /// @param op  the name of the whole; must live for ever
  turn(std::shared_ptr<handle_state> state, const char* op);
  turn(const turn&) = delete;
  turn& operator=(const turn&) = delete;
  ~turn() { state_->turns->leave(); }

 private:
  std::shared_ptr<handle_state> state_;
};

/// One call on a handle, from entry to exit, with the error that it caused.
class call_scope {
 public:
  /// @param takes_turn  false only for user_cancel, which must not wait for the call that it stops
  call_scope(std::shared_ptr<handle_state> state, const action& op, bool takes_turn = true);
  call_scope(const call_scope&) = delete;
  call_scope& operator=(const call_scope&) = delete;
  ~call_scope();

  guestfs_h* h() const noexcept { return state_->h; }

  /// Refuses the call if the next descriptors are too high for select(): libguestfs would abort the process.
  void refuse_high_descriptors();

  /// Refuses the call before it is made.
  [[noreturn]] void fail(const char* message, int number);
  /// The call has failed: throws libguestfs' error.
  [[noreturn]] void fail() const;

 private:
  struct of_thread;
  static of_thread& here() noexcept;
  static void take(guestfs_h* h, void*, const char* message) noexcept;

  std::shared_ptr<handle_state> state_;
  action op_;
  bool takes_turn_;
  call_scope* outer_;  // the call whose callback makes this one
  std::string message_;
  int number_ = 0;
};

/// Keeps a secret argument out of every log line and error. libguestfs hides encryption keys itself.
template <class A>
void hide_secrets(console_ring& console, const A& argument) {
  if constexpr (requires { argument.secret; })
    if (argument.secret) console.hide(*argument.secret);
}

/// Calls fn and returns its result, owned; throws Error if the result means failure.
template <class R, class C, class... P, class... A>
c_result<R> call(const std::shared_ptr<handle_state>& state, const action& op, C (*fn)(guestfs_h*, P...),
                 const A&... arguments) {
  call_scope scope(state, op);
  (hide_secrets(state->console, arguments), ...);
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
    if (c_result<R>::failed(c)) scope.fail();
    return {c, size};
  } else {
    C c = fn(scope.h(), lower(arguments)...);
    if (c_result<R>::failed(c)) scope.fail();
    return c_result<R>(c);
  }
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/call/call.ipp"
#endif
