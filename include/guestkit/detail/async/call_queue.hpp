// The queue of calls waiting for a handle, and the threads that run them.
//
// Calls run on a pool of threads, one at a time per handle, so a busy handle starves no other. This file only
// decides which call is to be stopped; turns.hpp stops it.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>

#include "guestkit/detail/async/boost_future.hpp"
#include "guestkit/detail/base/action.hpp"
#include "guestkit/detail/base/form.hpp"
#include "guestkit/executor.hpp"
#include "guestkit/guestfs.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// A call that is waiting for its turn or running.
class queued_call {
 public:
  /// @param with_turn  false: the turn is for a thread that the call starts and waits for
  explicit queued_call(const action& call, bool with_turn = true) noexcept
      : op(call.name), kind(call.kind), takes_turn(with_turn) {}
  queued_call(const queued_call&) = delete;
  queued_call& operator=(const queued_call&) = delete;
  virtual ~queued_call() = default;

  /// Makes the call and keeps its result.
  virtual void run(Guestfs& g) = 0;
  /// Keeps the error that ended the call.
  virtual void fail(std::exception_ptr error) noexcept = 0;
  /// Delivers the result or error to the call's future.
  virtual void settle() = 0;

  /// The call never runs.
  void abandon(std::exception_ptr error) {
    fail(std::move(error));
    settle();
  }

  const char* const op;
  const call_kind kind;
  const bool takes_turn;
  std::chrono::steady_clock::time_point due;  // when it has waited too long; guarded by the queue's mutex,
  bool begun = false;                         // as the rest: it can be ended
  bool cancelled = false;
};

/// A handle and its waiting calls. Each running call, and the closing, shares ownership. Threads: any.
class call_queue : public std::enable_shared_from_this<call_queue> {
 public:
  call_queue(const HandleOptions& options, executor& pool);

  /// Queues the call. Throws HandleClosed.
  void add(std::unique_ptr<queued_call> call);

  /// Cancels the calls queued so far.
  void cancel();
  /// Kills whatever runs for the handle; later calls are refused.
  void terminate();
  /// Refuses later calls, and closes the handle once the earlier ones have finished.
  boost::shared_future<void> close();

  bool is_open() const;
  /// Whether the calling thread is inside a call.
  bool is_mine() const noexcept { return state_of(g)->turns->is_mine(); }

  Guestfs g;

 private:
  using calls = std::deque<std::unique_ptr<queued_call>>;

  void start_next();
  executor* wanted_pool();
  executor& pool_of_first() const;
  bool begin_next(const executor& pool);
  std::unique_ptr<queued_call> take_first();
  bool take_closing();

  void watch(queued_call& call);
  void end_late_calls();

  void work(const executor& pool);
  void run(queued_call& call);
  void begin(queued_call& call);
  bool end(queued_call& call) noexcept;
  std::unique_ptr<queued_call> leave();
  void finish();

  const Seconds limit_;  // for waiting in the queue
  executor& pool_;
  executor& launch_pool_;
  executor& function_pool_;
  mutable std::mutex mutex_;         // guards what follows; never held while a call runs
  std::condition_variable watched_;  // wakes the watching thread
  calls waiting_;
  std::unique_ptr<queued_call> running_;
  bool has_thread_ = false;  // or has asked for one
  bool watching_ = false;
  bool closing_ = false;
  bool terminated_ = false;
  bool finishing_ = false;
  boost::promise<void> closing_done_;
  boost::shared_future<void> closed_ = closing_done_.get_future().share();
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

// Included in both forms: the compiled library does without Boost.
#include "guestkit/detail/async/call_queue.ipp"
