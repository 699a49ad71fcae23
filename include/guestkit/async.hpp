// The handle for programs that do not wait: every call returns a boost::future at once.
//
// Calls wait in their handle's queue and run on a pool of threads, one at a time for each handle, so that a
// busy handle starves no other. What ends a call is the business of turns.hpp; here is only decided which
// call is meant.
//
// Not included by guestkit.hpp: Boost's futures cost a compiler more than all the rest.
#pragma once

#if !defined BOOST_THREAD_VERSION || BOOST_THREAD_VERSION < 5
#error "guestkit/async.hpp needs BOOST_THREAD_VERSION=5 before any Boost header: build with guestkit-async"
#endif

#include <algorithm>
#include <atomic>
#include <boost/exception_ptr.hpp>
#include <boost/make_shared.hpp>
#include <boost/thread/executors/basic_thread_pool.hpp>
#include <boost/thread/executors/executor.hpp>
#include <boost/thread/executors/executor_adaptor.hpp>
#include <boost/thread/future.hpp>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/generated/async_actions.hpp"
#include "guestkit/guestkit.hpp"
#include "guestkit/open_disk.hpp"

namespace guestkit::inline GUESTKIT_FORM {

/// Has get() and then(). A continuation runs on a thread of its own unless then() is given an executor.
template <class T>
using future = boost::future<T>;
using executor = boost::executors::executor;

namespace detail {

/// One of the process' pools, made on first use.
template <int number>
executor& process_pool() {
  struct pool {
    boost::executors::executor_adaptor<boost::basic_thread_pool> threads{64U};
  };
  static constinit of_process<pool> pools;
  if (pool* const made = pools.existing()) return made->threads;
  const signals_blocked blocked;
  return pools.get().threads;
}

/// For what starts an appliance: it may wait for memory that only other handles' calls can free.
inline executor& launch_executor() {
  return process_pool<1>();
}

}  // namespace detail

/// Where calls run unless a handle was given an executor: 64 threads of the process, and as many others for
/// launches.
///
/// A thread waits for its appliance nearly all of its time, and each appliance needs hundreds of MB: memory
/// ends before the threads do. They are never joined, so that a call which hangs does not keep a program from
/// ending.
inline executor& shared_executor() {
  return detail::process_pool<0>();
}

namespace detail {

/// An exception on its way into a future. Boost's own current_exception() would cut it down to a
/// std::runtime_error.
struct carried_error : boost::exception_detail::clone_base {
  explicit carried_error(const std::exception_ptr& caught) noexcept { error = caught; }
  const clone_base* clone() const override { return new carried_error(*this); }
  void rethrow() const override { std::rethrow_exception(error); }

  std::exception_ptr error;
};

/// The blocking handle, with what the queue needs of it.
class queued_handle : public Guestfs {
 public:
  using Guestfs::Guestfs;
  using Guestfs::state;
};

/// A call that waits for its turn or has it.
class queued_call {
 public:
  /// @param name  must live for ever
  explicit queued_call(const char* name) noexcept : op(name) {}
  queued_call(const queued_call&) = delete;
  queued_call& operator=(const queued_call&) = delete;
  virtual ~queued_call() = default;

  /// Makes the call and keeps the result.
  virtual void run(queued_handle& g) = 0;
  /// Keeps the error with which it ended.
  virtual void fail(std::exception_ptr error) noexcept = 0;
  /// Hands what was kept to who has the future.
  virtual void settle() = 0;

  /// It never runs.
  template <class E>
  void abandon(const E& error) {
    fail(std::make_exception_ptr(error));
    settle();
  }

  const char* const op;
  std::chrono::steady_clock::time_point due;  // when it has waited too long; guarded by the queue's mutex,
  bool begun = false;                         // as the rest: it can be ended
  bool cancelled = false;
};

template <class R, class F>
class future_call final : public queued_call {
 public:
  future_call(const char* name, F function) : queued_call(name), function_(std::move(function)) {}

  future<R> get_future() { return promise_.get_future(); }

  void run(queued_handle& g) override {
    if constexpr (std::is_void_v<R>)
      function_(g);
    else
      result_.emplace(function_(g));
  }
  void fail(std::exception_ptr error) noexcept override { error_ = std::move(error); }
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

/// A handle and the calls that wait for it. Each call that runs, and the closing, share in it.
class call_queue : public std::enable_shared_from_this<call_queue> {
 public:
  call_queue(const HandleOptions& options, executor& pool)
      : g(options),
        limit_(options.limits.queue),
        pool_(pool),
        launch_pool_(&pool == &shared_executor() ? launch_executor() : pool) {}

  void add(std::unique_ptr<queued_call> call) {
    g.state()->refuse_fork(call->op);
    {
      const std::lock_guard lock(mutex_);
      if (terminated_) throw HandleClosed(call->op, "the handle is terminated", EBADF);
      if (closing_) throw HandleClosed(call->op, "the handle is closed", EBADF);
      if (limit_ != no_limit) watch(*call);
      waiting_.push_back(std::move(call));
    }
    start_next();
  }

  void cancel() {
    calls ended;
    {
      const std::lock_guard lock(mutex_);
      ended.swap(waiting_);
      if (running_) {
        running_->cancelled = true;
        if (running_->begun) g.cancel();  // never after its end: it would hit the next one
      }
    }
    for (const auto& call : ended) call->abandon(Error(call->op, "cancelled", EINTR));
    start_next();  // they may have been the last before the closing
  }

  void terminate() {
    calls ended;
    {
      const std::lock_guard lock(mutex_);
      terminated_ = true;
      ended.swap(waiting_);
    }
    g.terminate();
    for (const auto& call : ended)
      call->abandon(HandleClosed(call->op, "the handle was terminated before the call's turn", EBADF));
    start_next();
  }

  boost::shared_future<void> close() {
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
    }
    start_next();
    return closed_;
  }

  bool is_open() const {
    const std::lock_guard lock(mutex_);
    return !closing_ && !terminated_;
  }

  /// Whether the calling thread is inside a call.
  bool is_mine() const noexcept { return g.state()->turns->is_mine(); }

  queued_handle g;

 private:
  using calls = std::deque<std::unique_ptr<queued_call>>;

  /// Asks for a thread for the next call, unless that was done. When there is none and close() was called,
  /// closes.
  void start_next() {
    while (const auto pool = wanted_pool()) {
      try {
        pool->submit([self = shared_from_this(), pool] { self->work(*pool); });
        return;
      } catch (...) {  // the executor takes no more
        begin_next(*pool);
        const auto call = leave();
        if (!call) continue;
        call->fail(std::current_exception());
        call->settle();
      }
    }
    if (!take_closing()) return;
    try {  // on a thread of its own: it must not wait for a free one of the pool
      start_thread("close", [self = shared_from_this()] { self->finish(); });
    } catch (const Error&) {  // there is none to be had
      finish();
    }
  }

  /// Where to ask for a thread; null: there is one, or nothing for it to do.
  executor* wanted_pool() {
    const std::lock_guard lock(mutex_);
    return waiting_.empty() || std::exchange(has_thread_, true) ? nullptr : &pool_of_first();
  }

  executor& pool_of_first() const {
    return waiting_.front()->op == std::string_view("launch") ? launch_pool_ : pool_;
  }

  /// False if what the thread was for has been ended meanwhile.
  bool begin_next(const executor& pool) {
    const std::lock_guard lock(mutex_);
    if (!waiting_.empty() && &pool_of_first() == &pool) running_ = take_first();
    return running_ != nullptr;
  }

  std::unique_ptr<queued_call> take_first() {
    auto first = std::move(waiting_.front());
    waiting_.pop_front();
    return first;
  }

  bool take_closing() {
    const std::lock_guard lock(mutex_);
    if (running_ || !waiting_.empty() || !closing_) return false;
    watched_.notify_all();
    return !std::exchange(finishing_, true);
  }

  /// Sees to it that a call which waits too long is ended.
  void watch(queued_call& call) {
    const auto now = std::chrono::steady_clock::now();
    call.due = now + std::chrono::duration_cast<std::chrono::steady_clock::duration>(
                         std::min<Seconds>(limit_, std::chrono::hours(24 * 365)));
    if (watching_) return;
    start_thread(call.op, [self = shared_from_this()] { self->end_late_calls(); });
    watching_ = true;
  }

  /// On a thread of its own.
  void end_late_calls() {
    std::unique_lock lock(mutex_);
    while (!waiting_.empty()) {
      const auto due = waiting_.front()->due;  // the first of all: each has the same limit
      if (std::chrono::steady_clock::now() < due) {
        watched_.wait_until(lock, due);  // also when none waits any more: calls come in rows
        continue;
      }
      const auto call = take_first();
      lock.unlock();
      call->abandon(waited_too_long(call->op, limit_));
      start_next();
      lock.lock();
    }
    watching_ = false;
  }

  /// On a thread of the pool.
  void work(const executor& pool) {
    try {
      if (begin_next(pool)) run(*running_);
    } catch (...) {
      running_->fail(std::current_exception());
    }
    const auto call = leave();
    start_next();  // first: a continuation may wait for it
    if (call) call->settle();
  }

  void run(queued_call& call) {
    const turn mine(g.state(), call.op);
    begin(call);
    try {
      call.run(g);
    } catch (...) {
      end(call);
      throw;
    }
    end(call);
  }

  void begin(queued_call& call) {
    const std::lock_guard lock(mutex_);
    if (call.cancelled) throw Error(call.op, "cancelled", EINTR);
    call.begun = true;
  }

  void end(queued_call& call) noexcept {
    const std::lock_guard lock(mutex_);
    call.begun = false;
  }

  std::unique_ptr<queued_call> leave() {
    const std::lock_guard lock(mutex_);
    has_thread_ = false;
    return std::move(running_);
  }

  void finish() {
    g.close();
    closing_done_.set_value();
  }

  const Seconds limit_;  // for the waiting
  executor& pool_;
  executor& launch_pool_;
  mutable std::mutex mutex_;         // guards what follows; never held while foreign code runs
  std::condition_variable watched_;  // the watching thread has to look
  calls waiting_;
  std::unique_ptr<queued_call> running_;
  bool has_thread_ = false;  // or waits for one
  bool watching_ = false;
  bool closing_ = false;
  bool terminated_ = false;
  bool finishing_ = false;
  boost::promise<void> closing_done_;
  boost::shared_future<void> closed_ = closing_done_.get_future().share();
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
  /// Makes the call by the blocking handle's method, so that what Guestfs adds to an action is done here too.
  template <class R, class C, class... P, class... A>
  future<R> call(const char* op, R (C::*method)(P...), const A&... arguments) {
    return add(op, [method, kept = std::tuple(keep(arguments)...)](Guestfs& g) {
      return std::apply([&](const auto&... a) { return (g.*method)(view(a)...); }, kept);
    });
  }

  template <class F>
  auto add(const char* op, F function) {
    using R = std::decay_t<std::invoke_result_t<F&, queued_handle&>>;
    if (!queue_) throw HandleClosed(op, "the handle was moved from", EBADF);
    auto call = std::make_unique<future_call<R, F>>(op, std::move(function));
    auto outcome = call->get_future();
    queue_->add(std::move(call));
    return outcome;
  }

  /// Null after a move and in a forked child.
  call_queue* queue() const noexcept {
    return queue_ && queue_->g.state()->generation == fork_generation() ? queue_.get() : nullptr;
  }

 private:
  void finish() noexcept {
    try {
      if (queue() == nullptr) return;
      if (std::uncaught_exceptions() > exceptions_) queue()->cancel();
      const auto closed = queue()->close();
      if (!queue()->is_mine()) closed.wait();
    } catch (...) {  // no memory, or the waiting thread was interrupted: it closes without us
    }
  }

  std::shared_ptr<call_queue> queue_;
  int exceptions_ = std::uncaught_exceptions();  // that were on their way when this was made
};

}  // namespace detail

/// A Guestfs whose calls return at once: each method gives a future of what Guestfs' method returns.
///
///     guestkit::AsyncGuestfs g;
///     g.add_drive_ro("disk.qcow2");
///     g.launch();
///     for (const auto& root : g.inspect_os().get()) …
///
/// A call takes its place in the handle's queue when it is made, whether or not somebody waits for its
/// future, and keeps copies of its arguments. Errors are thrown by future::get(); HandleClosed, and what is
/// wrong with an argument, by the call itself.
///
/// Ownership: move-only. At its end the calls that were made run to theirs, as with close(), unless an
/// exception is on its way: then they are cancelled. Threads: any may call at any time.
template <class Core>
class basic_async_guestfs : public detail::async_actions<Core> {
 public:
  /// With the options of Guestfs, and the executor on which the calls run; it must outlive the handle.
  using detail::async_actions<Core>::async_actions;

  /// Runs a function of the blocking handle, function(Guestfs&), in the handle's turn: many calls for one hop
  /// between threads. A cancel ends the call that it is in and refuses every later one of it.
  template <class F>
  auto run(F function) {
    return this->add("run", [function = std::move(function)](Guestfs& g) mutable { return function(g); });
  }

  /// Ends every call that was made so far. Those that wait never run; the one that runs is ended as by
  /// Guestfs::cancel(). Their futures throw Error with EINTR, or ApplianceKilled where it took the
  /// hypervisor.
  void cancel() {
    if (auto* queue = this->queue()) queue->cancel();
  }

  /// Kills what runs for the handle, and waits for nothing: Guestfs::terminate(). Calls that wait for their
  /// turn, and later ones, throw HandleClosed.
  void terminate() {
    if (auto* queue = this->queue()) queue->terminate();
  }

  /// Lets no new call in, lets those that were made run to their end, then closes the handle. Closing twice
  /// is harmless.
  boost::shared_future<void> close() {
    auto* queue = this->queue();
    return queue != nullptr ? queue->close() : boost::make_ready_future().share();
  }

  bool is_open() const {
    const auto* queue = this->queue();
    return queue != nullptr && queue->is_open();
  }

  /// Guestfs::set_event_callback(), at once. The callback runs on the thread of the call.
  Subscription set_event_callback(Event events, EventCallback callback) {
    auto* queue = this->queue();
    if (queue == nullptr) throw HandleClosed("set_event_callback", "the handle is not this process'", EBADF);
    return queue->g.set_event_callback(events, std::move(callback));
  }

  /// Guestfs::launch_info(), at once.
  std::optional<LaunchInfo> launch_info() const {
    auto* queue = this->queue();
    return queue != nullptr ? queue->g.launch_info() : std::nullopt;
  }

  /// Guestfs::open_disk().
  boost::future<ImageInfo> open_disk(std::filesystem::path path, OpenDiskOptions options = {}) {
    return this->add("open_disk", [path = std::move(path), options = std::move(options)](Guestfs& g) {
      return g.open_disk(path, options);
    });
  }

  /// Guestfs::user_cancel(), at once. It is lost when it comes before the transfer begins; cancel() is not.
  boost::future<void> user_cancel() {
    if (auto* queue = this->queue()) queue->g.user_cancel();
    return boost::make_ready_future();
  }
};

using AsyncGuestfs = basic_async_guestfs<detail::async_core>;

}  // namespace guestkit::inline GUESTKIT_FORM
