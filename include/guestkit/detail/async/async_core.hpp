// The core of AsyncGuestfs: turns a call into a future.
#pragma once

#include <boost/exception_ptr.hpp>
#include <boost/make_shared.hpp>
#include <cerrno>
#include <exception>
#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#include "guestkit/detail/async/boost_future.hpp"
#include "guestkit/detail/async/call_queue.hpp"
#include "guestkit/detail/base/action.hpp"
#include "guestkit/detail/base/fork.hpp"
#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/call/convert.hpp"
#include "guestkit/error.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Carries an exception into a future. Boost's own current_exception() would slice it to a
/// std::runtime_error.
struct carried_error : boost::exception_detail::clone_base {
  explicit carried_error(const std::exception_ptr& caught) noexcept { error = caught; }
  const clone_base* clone() const override { return new carried_error(*this); }
  void rethrow() const override { std::rethrow_exception(error); }

  std::exception_ptr error;
};

/// A function waiting for its turn on the handle, and the promise of its result.
template <class R, class F>
class future_call final : public queued_call {
 public:
  future_call(const action& call, F function, bool with_turn)
      : queued_call(call, with_turn), function_(std::move(function)) {}

  boost::future<R> get_future() { return promise_.get_future(); }

  void run(Guestfs& g) override {
    if constexpr (std::is_void_v<R>)
      function_(g);
    else
      result_.emplace(function_(g));
  }
  void fail(std::exception_ptr error) noexcept override {
    result_.reset();
    error_ = std::move(error);
  }
  void settle() override {
    if (error_)
      promise_.set_exception(boost::exception_ptr(boost::make_shared<carried_error>(error_)));
    else if constexpr (std::is_void_v<R>)
      promise_.set_value();
    else
      promise_.set_value(std::move(*result_));
  }

 private:
  F function_;
  boost::promise<R> promise_;
  std::optional<std::conditional_t<std::is_void_v<R>, std::monostate, R>> result_;
  std::exception_ptr error_;
};

/// Results as futures: each call takes its place in the handle's queue.
class async_core {
 public:
  explicit async_core(const HandleOptions& options = {}, executor& pool = shared_executor())
      : queue_(new call_queue(options, pool), process_deleter()) {}
  async_core(async_core&&) noexcept = default;
  async_core& operator=(async_core&& other) noexcept {
    if (this != &other) {
      finish();
      queue_ = std::move(other.queue_);
    }
    return *this;
  }
  ~async_core() { finish(); }

  using Handle = Guestfs;
  template <class R>
  using future = boost::future<R>;

 protected:
  /// Calls the blocking handle's method, so that whatever Guestfs adds to an action happens here too.
  template <class R, class C, class... P, class... A>
  future<R> call(const action& op, R (C::*method)(P...), const A&... arguments) {
    return add(op, [method, kept = std::tuple(keep(arguments)...)](Guestfs& g) {
      return std::apply([&](const auto&... a) { return (g.*method)(a...); }, kept);
    });
  }

  /// @param with_turn  as in queued_call
  template <class F>
  auto add(const action& op, F function, bool with_turn = true) {
    using R = std::decay_t<std::invoke_result_t<F&, Guestfs&>>;
    const auto queue = existing_queue(op.name);
    auto call = std::make_unique<future_call<R, F>>(op, std::move(function), with_turn);
    auto outcome = call->get_future();
    queue->add(std::move(call));
    return outcome;
  }

  /// Throws HandleClosed after a move.
  std::shared_ptr<call_queue> existing_queue(const char* op) const {
    if (!queue_) throw HandleClosed(op, "the handle was moved from", EBADF);
    return queue_;
  }

  /// Null after a move and in a forked child. It survives a continuation that destroys this object.
  std::shared_ptr<call_queue> queue() const noexcept {
    return queue_ && state_of(queue_->g)->generation == fork_generation() ? queue_ : nullptr;
  }

 private:
  void finish() noexcept {
    try {
      const auto queue = this->queue();
      if (queue == nullptr) return;
      if (std::uncaught_exceptions() > exceptions_) queue->cancel();
      const auto closed = queue->close();
      if (!queue->is_mine()) closed.wait();
    } catch (...) {  // no memory, or the waiting thread was interrupted: the queue closes by itself
    }
  }

  std::shared_ptr<call_queue> queue_;
  int exceptions_ = std::uncaught_exceptions();  // already in flight when this was made
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail
