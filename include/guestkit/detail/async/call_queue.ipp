#pragma once

#include <boost/exception_ptr.hpp>
#include <cerrno>
#include <optional>
#include <utility>

#include "guestkit/detail/async/call_queue.hpp"
#include "guestkit/detail/base/seconds.hpp"
#include "guestkit/detail/base/threads.hpp"
#include "guestkit/detail/call/call.hpp"
#include "guestkit/error.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

inline call_queue::call_queue(const HandleOptions& options, executor& pool)
    : g(options),
      limit_(options.limits.queue),
      pool_(pool),
      launch_pool_(&pool == &shared_executor() ? launch_executor() : pool),
      function_pool_(&pool == &shared_executor() ? function_executor() : pool) {}

inline void call_queue::add(std::unique_ptr<queued_call> call) {
  state_of(g)->refuse_fork(call->op);
  state_of(g)->turns->refuse_if_serving(call->op);
  {
    const std::lock_guard lock(mutex_);
    if (terminated_) throw HandleClosed(call->op, "the handle is terminated", EBADF);
    if (closing_) throw HandleClosed(call->op, "the handle is closed", EBADF);
    if (limit_ != no_limit) watch(*call);
    waiting_.push_back(std::move(call));
  }
  start_next();
}

inline void call_queue::cancel() {
  calls ended;
  {
    const std::lock_guard lock(mutex_);
    ended.swap(waiting_);
    if (running_) running_->cancelled = true;
    // Not while a call ends: that would hit the next one. Without any call, a directory may be mounted.
    if (!running_ || running_->begun) g.cancel();
  }
  for (const auto& call : ended) call->abandon(std::make_exception_ptr(Error(call->op, "cancelled", EINTR)));
  start_next();  // the queue may be empty now, and close() waiting for that
}

inline void call_queue::terminate() {
  calls ended;
  {
    const std::lock_guard lock(mutex_);
    terminated_ = true;
    ended.swap(waiting_);
  }
  g.terminate();
  for (const auto& call : ended)
    call->abandon(std::make_exception_ptr(
        HandleClosed(call->op, "the handle was terminated before the call's turn", EBADF)));
  start_next();
}

inline boost::shared_future<void> call_queue::close() {
  boost::shared_future<void> closed;
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    closed = closed_;
    if (running_ && running_->begun && running_->kind == call_kind::serve) g.cancel();
  }
  start_next();
  return closed;
}

inline bool call_queue::is_open() const {
  const std::lock_guard lock(mutex_);
  return !closing_ && !terminated_;
}

/// Asks for a thread for the next call, unless one has been asked for. If no call is left and close() was
/// called, closes.
inline void call_queue::start_next() {
  while (const auto pool = wanted_pool()) {
    try {
      pool->submit([self = shared_from_this(), pool] { self->work(*pool); });
      return;
    } catch (...) {  // the executor accepts no more work
      begin_next(*pool);
      const auto call = leave();
      if (!call) continue;
      call->fail(std::current_exception());
      call->settle();
    }
  }
  if (!take_closing()) return;
  try {  // on its own thread: closing must not wait for a free thread of the pool
    start_thread("close", [self = shared_from_this()] { self->finish(); });
  } catch (const Error&) {  // no thread can be started
    finish();
  }
}

/// The pool to ask for a thread; null if there is a thread already, or nothing for one to do.
inline executor* call_queue::wanted_pool() {
  const std::lock_guard lock(mutex_);
  return waiting_.empty() || std::exchange(has_thread_, true) ? nullptr : &pool_of_first();
}

/// A launch may wait for memory, which only other calls can free. On a handle without an appliance, a
/// function for run() may contain one.
inline executor& call_queue::pool_of_first() const {
  const auto kind = waiting_.front()->kind;
  if (kind == call_kind::launch) return launch_pool_;
  return kind == call_kind::function && !state_of(g)->turns->launched ? function_pool_ : pool_;
}

/// Returns false if the call that the thread was meant for has been cancelled in the meantime.
inline bool call_queue::begin_next(const executor& pool) {
  const std::lock_guard lock(mutex_);
  if (!waiting_.empty() && &pool_of_first() == &pool) running_ = take_first();
  return running_ != nullptr;
}

inline std::unique_ptr<queued_call> call_queue::take_first() {
  auto first = std::move(waiting_.front());
  waiting_.pop_front();
  return first;
}

inline bool call_queue::take_closing() {
  const std::lock_guard lock(mutex_);
  if (running_ || !waiting_.empty() || !closing_) return false;
  watched_.notify_all();
  return !std::exchange(finishing_, true);
}

/// Makes sure that a call that waits too long is ended.
inline void call_queue::watch(queued_call& call) {
  call.due = std::chrono::steady_clock::now() + to_clock(limit_);
  if (watching_) return;
  start_thread(call.op, [self = shared_from_this()] { self->end_late_calls(); });
  watching_ = true;
}

/// Runs on its own thread.
inline void call_queue::end_late_calls() {
  std::unique_lock lock(mutex_);
  while (!waiting_.empty()) {
    const auto due = waiting_.front()->due;  // the earliest: all have the same limit
    if (std::chrono::steady_clock::now() < due) {
      watched_.wait_until(lock, due);  // even if no call waits any more: calls tend to come in bursts
      continue;
    }
    const auto call = take_first();
    lock.unlock();
    call->abandon(std::make_exception_ptr(waited_too_long(call->op, limit_)));
    start_next();
    lock.lock();
  }
  watching_ = false;
}

/// Runs on a thread of the pool.
inline void call_queue::work(const executor& pool) {
  try {
    if (begin_next(pool)) run(*running_);
  } catch (...) {
    running_->fail(std::current_exception());
  }
  const auto call = leave();
  start_next();  // before settling: a continuation may wait for the next call
  if (call) call->settle();
}

inline void call_queue::run(queued_call& call) {
  std::optional<turn> mine;
  if (call.takes_turn) mine.emplace(state_of(g), call.op);
  begin(call);
  try {
    call.run(g);
  } catch (...) {
    end(call);
    throw;
  }
  // The turn was another thread's, which may not have had it yet when the cancel came.
  if (end(call) && !call.takes_turn) throw Error(call.op, "cancelled", EINTR);
}

inline void call_queue::begin(queued_call& call) {
  const std::lock_guard lock(mutex_);
  if (call.cancelled) throw Error(call.op, "cancelled", EINTR);
  if (closing_ && call.kind == call_kind::serve) throw HandleClosed(call.op, "the handle is closed", EBADF);
  call.begun = true;
}

/// Returns whether the call was cancelled.
inline bool call_queue::end(queued_call& call) noexcept {
  const std::lock_guard lock(mutex_);
  call.begun = false;
  return call.cancelled;
}

inline std::unique_ptr<queued_call> call_queue::leave() {
  const std::lock_guard lock(mutex_);
  has_thread_ = false;
  return std::move(running_);
}

inline void call_queue::finish() {
  try {
    g.close();
    closing_done_.set_value();
  } catch (const Error& e) {  // what it shows in a directory cannot be unmounted: the handle stays open
    boost::promise<void> failed, next;
    {
      const std::lock_guard lock(mutex_);
      failed = std::exchange(closing_done_, std::move(next));
      closed_ = closing_done_.get_future().share();
      closing_ = finishing_ = false;
    }
    failed.set_exception(boost::copy_exception(e));
  }
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
