// Ending work: whose turn it is on a handle, how long a call may take, and what stops it.
//
// A call is stopped in two steps. First libguestfs is told to cancel, again and again, which ends a transfer
// and leaves a handle that works. What has not ended after a grace ends with its hypervisor, or, before the
// launch, with the tool that libguestfs waits for; a handle whose hypervisor was killed is dead and says so.
#pragma once

#include <guestfs.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/call/action.hpp"
#include "guestkit/detail/launch/processes.hpp"
#include "guestkit/error.hpp"

namespace guestkit::inline GUESTKIT_FORM {

/// Durations in seconds, as numbers with a fraction.
using Seconds = std::chrono::duration<double>;

inline constexpr Seconds no_limit{std::numeric_limits<double>::infinity()};

/// How long work on a handle may take.
struct Limits {
  /// For launch(), from its start. By default one minute with KVM, five where the processor is emulated.
  std::optional<Seconds> launch = {};
  /// For every other call, from when it starts to run.
  Seconds call = no_limit;
  /// For close(); then the hypervisor is killed. To be sure of the last writes, call shutdown() before.
  Seconds close = Seconds(60);
  /// How long launch() may wait for memory that this process' other appliances use.
  Seconds admission = Seconds(600);
  /// How long a call that is to end may go on before the hypervisor is killed. A launch has none.
  Seconds cancel_grace = Seconds(2);
  /// How long a call may wait for its turn, while others of the handle run; then it never runs.
  Seconds queue = no_limit;
};

namespace detail {

/// A time as messages have it, such as "0.5 s".
inline std::string shown(Seconds time) {
  char text[32];
  std::snprintf(text, sizeof text, "%g s", time.count());
  return text;
}

/// A call has waited longer than Limits::queue.
inline CallTimeout waited_too_long(const char* op, Seconds limit) {
  const auto text = "waited longer than " + shown(limit) + " for its turn (queue_timeout); it did not run";
  return CallTimeout(op, text, ETIMEDOUT, limit.count(), "queue_timeout");
}

/// Whose turn it is on one handle, and how it ends. Threads: any.
template <class Clock = std::chrono::steady_clock>
class basic_control {
  using duration = typename Clock::duration;
  using time_point = typename Clock::time_point;

 public:
  basic_control() = default;
  basic_control(const basic_control&) = delete;
  basic_control& operator=(const basic_control&) = delete;
  ~basic_control() {
    std::unique_lock lock(mutex_);
    stopping_ = true;
    watched_.notify_all();
    changed_.wait(lock, [&] { return !watching_; });
  }

  /// Takes the calling thread's turn, waiting while another thread has it. A thread may take it again.
  /// Throws HandleClosed, ApplianceKilled, CallTimeout after Limits::queue, and what stopped the turn that
  /// this one is a part of.
  void take_turn(const char* op) {
    std::unique_lock lock(mutex_);
    take_turn(lock, op);
  }

  /// Begins a call, in a turn of its own if the thread has none.
  void enter(const action& op) {
    std::unique_lock lock(mutex_);
    take_turn(lock, op.name);
    if (op_ != nullptr) return;
    op_ = op.name;
    op_depth_ = depth_;
    since_ = op.may_run_programs ? ticks_now() : 0;
    try {
      if (op.is_launch)
        begin(limits.launch.value_or(no_limit), "launch_timeout");
      else
        begin(limits.call, "call_timeout");
    } catch (...) {  // no thread can be started that would keep the limit
      leave_turn();
      throw;
    }
  }

  void leave() noexcept {
    const std::lock_guard lock(mutex_);
    leave_turn();
  }

  /// A call that takes no turn: user_cancel alone, which must not wait for what it is to stop.
  void pass(const char* op) {
    const std::lock_guard lock(mutex_);
    refuse_if_over(op, false);
    count(+1);
  }
  void leave_passing() noexcept {
    const std::lock_guard lock(mutex_);
    leave_locked();
  }

  /// Waits, while the clock of the call that runs stands still: waiting for others is not its time. What wait
  /// throws ends the call.
  template <class F>
  void off_the_clock(F&& wait) {
    std::optional<duration> left;
    {
      const std::lock_guard lock(mutex_);
      if (deadline_ && ending_ == ending::none) {
        left = *deadline_ - Clock::now();
        deadline_.reset();
      }
    }
    wait();
    const std::lock_guard lock(mutex_);
    if (left && ending_ == ending::none) watch(Clock::now() + *left);
  }

  /// The call that runs has that much less time: its work began before it did.
  void count_too(Seconds spent) {
    const std::lock_guard lock(mutex_);
    if (deadline_ && ending_ == ending::none) watch(*deadline_ - to_clock(spent));
  }

  /// How a part of a call ended.
  struct part_end {
    std::optional<Seconds> limit = {};  // what it took longer than; nothing: it was in time
    bool goes_on = true;                // the appliance lives, the call may do something else
  };

  /// Begins a part of the thread's call, which may take that share of the time that is left to the call; of a
  /// call without a limit the part has none either. What takes longer is stopped as the call would be.
  void begin_part(double share) {
    const std::lock_guard lock(mutex_);
    if (!deadline_ || part_ || ending_ != ending::none) return;
    const Seconds left = *deadline_ - Clock::now();
    part_ = whole{*deadline_, limit_};
    limit_ = left * share;
    watch(Clock::now() + to_clock(limit_));
  }

  /// Ends it. A call whose part alone took too long, and whose appliance lives, goes on.
  part_end end_part() noexcept {
    const std::lock_guard lock(mutex_);
    const bool goes_on = killed_.empty() && (part_ ? ending_ != ending::cancelled : ending_ == ending::none);
    if (!part_) return {.goes_on = goes_on};
    part_end end{.goes_on = goes_on};
    if (ending_ == ending::timed_out) end.limit = limit_;
    limit_ = part_->limit;
    deadline_ = part_->deadline;
    part_.reset();
    if (goes_on) ending_ = ending::none;
    return end;
  }

  /// Whether it is the calling thread's turn: it is inside a call, or closes the handle.
  bool is_mine() const noexcept {
    const std::lock_guard lock(mutex_);
    return owner_ == thread_id();
  }

  /// Whether no thread is inside. Without the lock: every call of Python's main thread asks.
  bool is_idle() const noexcept { return inside_ == 0 || closing_; }
  bool is_open() const noexcept {
    const std::lock_guard lock(mutex_);
    return !closing_;
  }

  /// Lets no new call in and waits for those that are. False: another thread closed; it has ended by now.
  bool begin_close() {
    std::unique_lock lock(mutex_);
    if (closing_.exchange(true)) {
      changed_.wait(lock, [&] { return closed_; });
      return false;
    }
    changed_.wait(lock, [&] { return inside_ == 0; });
    op_ = "close";
    owner_ = thread_id();
    ending_ = ending::none;
    try {
      begin(limits.close, "close_timeout");
    } catch (const std::exception&) {  // no thread can be started: better a close without a limit than none
    }
    return true;
  }
  void end_close() noexcept {
    const std::lock_guard lock(mutex_);
    op_ = nullptr;
    owner_ = 0;
    closed_ = true;
    changed_.notify_all();
  }

  /// Stops a transfer, if one runs.
  void cancel_transfer() noexcept {
    const std::lock_guard lock(mutex_);
    if (h != nullptr) guestfs_user_cancel(h);
  }

  /// The handle is another from now on. By the thread whose turn it is.
  void replace(guestfs_h* fresh) noexcept {
    const std::lock_guard lock(mutex_);
    h = fresh;
    hypervisor_name.clear();
  }

  /// Ends the turn that some thread has, if one has: see above. Returns at once. Where no thread can be
  /// started that would wait for the call to end by itself, there is no grace.
  void cancel() {
    const std::lock_guard lock(mutex_);
    if (owner_ == 0 || ending_ != ending::none) return;
    try {
      end_turn(ending::cancelled);
    } catch (const Error&) {
      guestfs_user_cancel(h);
      kill_programs(programs_of(hypervisor_name, call()));
    }
  }

  /// Kills what runs for the handle, which is dead from now on. Waits for nothing.
  void terminate() {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    if (killed_.empty()) killed_ = "terminate() was called";
    kill_programs(programs_of(hypervisor_name, call()));
    if (op_ == nullptr) return;
    ending_ = ending::terminated;
    kill_at_ = {};
    try {
      watch(time_point());    // kills what is just being started
    } catch (const Error&) {  // no thread can be started
    }
  }

  /// Says why a call that was stopped has failed, or returns if it was not stopped.
  void throw_if_stopped(const char* op, const std::string& message, int number,
                        const std::vector<std::string>& console) {
    const std::lock_guard lock(mutex_);
    if (ending_ != ending::none || !killed_.empty()) fail(op, message, number, console);
  }

  guestfs_h* h = nullptr;
  Limits limits;
  std::string hypervisor_name;        // the argument of its -name; written while launch() has the turn
  std::string hypervisor;             // its program, likewise
  std::atomic<bool> launched{false};  // the appliance came up and was not shut down by a call

 private:
  enum class ending { none, cancelled, timed_out, terminated };

  /// A cancel is lost when it comes just before a transfer begins: it is sent again.
  static constexpr std::chrono::milliseconds interval{30};
  /// What a part has at least for ending gently: the rest of the call needs the appliance.
  static constexpr Seconds grace_of_part{2};
  /// How long the watching thread stays when there is nothing to watch: calls come in rows.
  static constexpr std::chrono::seconds idle{1};

  void begin(Seconds limit, const char* clock) {
    limit_ = limit;
    clock_ = clock;
    if (limit != no_limit) watch(Clock::now() + to_clock(limit));
  }

  static duration to_clock(Seconds time) {
    constexpr Seconds ever = std::chrono::hours(24 * 365);
    return std::chrono::duration_cast<duration>(time < Seconds(0) ? Seconds(0) : ever < time ? ever : time);
  }

  void take_turn(std::unique_lock<std::mutex>& lock, const char* op) {
    refuse_if_over(op);
    count(+1);
    try {
      if (const pid_t thread = thread_id(); owner_ != thread) {
        wait_for_turn(lock, op);
        refuse_if_killed(op);
        owner_ = thread;
        ending_ = ending::none;
        ++turn_;
      }
      if (ending_ != ending::none) fail(op, "", EINTR, {});
    } catch (...) {
      leave_locked();
      throw;
    }
    ++depth_;
  }

  void wait_for_turn(std::unique_lock<std::mutex>& lock, const char* op) {
    const auto free = [&] { return owner_ == 0; };
    if (limits.queue == no_limit)
      changed_.wait(lock, free);
    else if (!changed_.wait_until(lock, Clock::now() + to_clock(limits.queue), free))
      throw waited_too_long(op, limits.queue);
  }

  void refuse_if_over(const char* op, bool killed_too = true) const {
    if (closing_) throw HandleClosed(op, "the handle is closed", EBADF);
    if (killed_too) refuse_if_killed(op);
  }
  void refuse_if_killed(const char* op) const {
    if (!killed_.empty()) throw ApplianceKilled(op, death(), ENOTCONN);
  }
  std::string death() const { return "the appliance was killed: " + killed_ + "; open a new handle"; }

  [[noreturn]] void fail(const char* op, const std::string& message, int number,
                         const std::vector<std::string>& console) const {
    if (ending_ == ending::timed_out) {
      const auto text =
          "took longer than " + shown(limit_) + " (" + clock_ + ") and was stopped; " +
          (killed_.empty() ? "the handle can be used" : "the appliance was killed, open a new handle");
      throw CallTimeout(op, text, ETIMEDOUT, limit_.count(), clock_, console);
    }
    if (!killed_.empty()) throw ApplianceKilled(op, death(), number, console);
    throw Error(op, number == EINTR || message.empty() ? "cancelled" : message, number == 0 ? EINTR : number);
  }

  /// With the lock held, so that adding needs no atomic operation.
  void count(int change) noexcept {
    inside_.store(inside_.load(std::memory_order_relaxed) + change, std::memory_order_relaxed);
  }

  void leave_turn() noexcept {
    if (op_ != nullptr && op_depth_ == depth_) {
      op_ = nullptr;
      deadline_.reset();
    }
    if (--depth_ == 0) owner_ = 0;
    leave_locked();
  }

  void leave_locked() noexcept {
    count(-1);
    changed_.notify_all();
  }

  bool is(std::string_view op) const noexcept { return op_ != nullptr && op_ == op; }

  void end_turn(ending how) {
    ending_ = how;
    const bool gentle = launched && !is("launch") && !is("close");
    const auto now = Clock::now();
    auto grace = limits.cancel_grace;
    if (part_ && how == ending::timed_out && grace < grace_of_part) grace = grace_of_part;
    kill_at_ = now + (gentle ? to_clock(grace) : duration(0));
    if (op_ != nullptr) watch(now);
  }

  running_call call() const {
    return op_ == nullptr || since_ == 0 ? running_call{} : running_call{owner_, since_, hypervisor};
  }

  void kill_programs(const std::vector<program>& programs) {
    for (const auto& found : programs) {
      if (!found.kill()) continue;
      if (killed_.empty() && (found.hypervisor || is("launch"))) killed_ = reason();
    }
  }

  std::string reason() const {
    const std::string call = op_ == nullptr ? "" : std::string(op_) + " ";
    return call + (ending_ == ending::timed_out ? "took longer than its " + std::string(clock_)
                                                : "was cancelled and did not end");
  }

  /// Has the watching thread look at the turn at that time. Throws Error if it has to be started and cannot.
  void watch(time_point when) {
    if (!watching_) start_thread(op_, [this] { run(); });
    watching_ = true;
    deadline_ = when;
    if (when < wakes_at_) watched_.notify_all();
  }

  bool is_watched() const noexcept { return op_ != nullptr && deadline_; }

  void run() {
    std::unique_lock lock(mutex_);
    const auto sleep_until = [&](time_point time) {
      wakes_at_ = time;
      watched_.wait_until(lock, time);
      wakes_at_ = {};
      return Clock::now() >= time;
    };
    while (!stopping_) {
      if (!is_watched()) {
        if (sleep_until(Clock::now() + idle) && !is_watched()) break;
      } else if (ending_ != ending::none) {
        press(lock);
        if (!stopping_) sleep_until(Clock::now() + interval);
      } else if (Clock::now() >= *deadline_) {
        end_turn(ending::timed_out);
      } else {
        sleep_until(*deadline_);
      }
    }
    watching_ = false;
    changed_.notify_all();
  }

  /// Has what runs end. The lock keeps the call from ending under it, and the next one from being hit.
  void press(std::unique_lock<std::mutex>& lock) {
    if (Clock::now() < kill_at_) {
      guestfs_user_cancel(h);
      return;
    }
    const auto turn = turn_;
    const auto name = hypervisor_name;
    const auto running = call();
    lock.unlock();  // reading /proc takes a moment
    const auto programs = programs_of(name, running);
    lock.lock();
    if (turn == turn_ && op_ != nullptr && ending_ != ending::none) kill_programs(programs);
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;  // a turn, a call or the handle has ended
  std::condition_variable watched_;  // the watching thread has to look
  std::atomic<bool> closing_{false};
  bool closed_ = false;
  bool watching_ = false;
  bool stopping_ = false;
  std::string killed_;          // why the hypervisor was killed; empty: it was not
  std::atomic<int> inside_{0};  // calls, those that wait for their turn too
  pid_t owner_ = 0;             // the thread whose turn it is
  std::uint64_t turn_ = 0;
  unsigned depth_ = 0;  // of calls that the owner made in callbacks of others
  unsigned op_depth_ = 0;
  const char* op_ = nullptr;  // the outermost call
  long long since_ = 0;       // when it began, in ticks; 0: it starts no programs
  Seconds limit_ = no_limit;
  const char* clock_ = "";
  std::optional<time_point> deadline_;
  struct whole {
    time_point deadline;
    Seconds limit;
  };
  std::optional<whole> part_;  // what the call had before the part of it that runs
  time_point wakes_at_;        // the watching thread, which is awake if this is past
  ending ending_ = ending::none;
  time_point kill_at_;
};
using control = basic_control<>;

/// A forked child leaves it alone: the parent's threads, which may hold its locks or be waited for, are not
/// there.
struct process_deleter {
  unsigned generation = fork_generation();
  template <class T>
  void operator()(T* object) const noexcept {
    if (generation == fork_generation()) delete object;
  }
};

}  // namespace detail
}  // namespace guestkit::inline GUESTKIT_FORM
