// Whose turn it is on a handle, how long it may take, and what stops it.
//
// A call is stopped in two steps. First libguestfs is told to cancel, again and again, which ends a transfer
// and leaves a handle that works. What has not ended after a grace period ends with its hypervisor, or,
// before the launch, with the tool that libguestfs waits for. A handle whose hypervisor was killed is dead
// and says so.
#pragma once

#include <guestfs.h>
#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/call/action.hpp"
#include "guestkit/detail/launch/processes.hpp"
#include "guestkit/error.hpp"
#include "guestkit/limits.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// A time as messages have it, such as "0.5 s".
std::string shown(Seconds time);

/// A call has waited longer than Limits::queue.
CallTimeout waited_too_long(const char* op, Seconds limit);

/// The turns of one handle: one thread has its turn, the others wait for theirs. Threads: any.
///
/// A thread of its own watches the call that runs, once one has a limit or is to be stopped. It ends by
/// itself when there has been nothing to watch for a while.
class turns {
 public:
  turns() = default;
  turns(const turns&) = delete;
  turns& operator=(const turns&) = delete;
  ~turns();

  /// Takes the calling thread's turn, waiting while another thread has it. A thread may take it again.
  /// Throws HandleClosed, ApplianceKilled, CallTimeout after Limits::queue, and what stopped the turn that
  /// this one is a part of.
  void take_turn(const char* op);
  /// Begins a call, in a turn of its own if the thread has none.
  void enter(const action& op);
  /// Ends what take_turn() or enter() began.
  void leave() noexcept;

  /// Begins a call that takes no turn: user_cancel alone, which must not wait for what it is to stop.
  void pass(const char* op);
  void leave_passing() noexcept;

  /// Waits, while the clock of the call that runs stands still: waiting for others is not its time. What wait
  /// throws ends the call.
  void off_the_clock(const std::function<void()>& wait);
  /// Gives the call that runs so much less time: its work began before it did.
  void count_too(Seconds spent);

  /// How a part of a call ended.
  struct part_end {
    std::optional<Seconds> limit = {};  // what it took longer than; nothing: it was in time
    bool goes_on = true;                // the appliance lives, the call may do something else
  };

  /// Begins a part of the thread's call, which may take that share of the time that is left to the call. A
  /// part of a call without a limit has none either. What takes longer is stopped as the call would be.
  void begin_part(double share);
  /// Ends it. A call whose part alone took too long, and whose appliance lives, goes on.
  part_end end_part() noexcept;

  /// Whether it is the calling thread's turn: it is inside a call, or closes the handle.
  bool is_mine() const noexcept;
  /// Whether no thread is inside. Without the lock, since every call of Python's main thread asks.
  bool is_idle() const noexcept { return inside_ == 0 || closing_; }
  bool is_open() const noexcept;

  /// Lets no new call in and waits for those that are inside. False: another thread closed, and is done.
  bool begin_close();
  void end_close() noexcept;

  /// Stops a transfer, if one runs.
  void cancel_transfer() noexcept;

  /// Puts another C handle in the place of this one. For the thread whose turn it is.
  void replace(guestfs_h* fresh) noexcept;

  /// Ends the turn that some thread has, if one has it, in the two steps told above. Returns at once. Where
  /// no thread can be started to wait for the call to end by itself, there is no grace period.
  void cancel();

  /// Kills what runs for the handle, which is dead from then on. Waits for nothing.
  void terminate();

  /// Says why a call that was stopped has failed, or returns if it was not stopped.
  void throw_if_stopped(const char* op, const std::string& message, int number,
                        const std::vector<std::string>& console);

  guestfs_h* h = nullptr;
  Limits limits;
  std::string hypervisor_name;        // the argument of its -name; written while launch() has the turn
  std::string hypervisor;             // its program, likewise
  std::atomic<bool> launched{false};  // the appliance came up and was not shut down by a call

 private:
  using clock = std::chrono::steady_clock;
  using lock = std::unique_lock<std::mutex>;
  enum class ending { none, cancelled, timed_out, terminated };

  // With the lock held.
  void begin(Seconds limit, const char* clock_name);
  void take_turn(lock& held, const char* op);
  void wait_for_turn(lock& held, const char* op);
  void leave_turn() noexcept;
  void leave_locked() noexcept;
  void count(int change) noexcept;

  void refuse_if_over(const char* op, bool killed_too = true) const;
  void refuse_if_killed(const char* op) const;
  [[noreturn]] void fail(const char* op, const std::string& message, int number,
                         const std::vector<std::string>& console) const;
  std::string death() const;
  std::string reason() const;

  bool is(std::string_view op) const noexcept { return op_ != nullptr && op_ == op; }
  running_call call() const;
  void end_turn(ending how);
  void kill_programs(const std::vector<program>& programs);

  /// Has the watching thread look at the turn at that time. Throws Error if it has to be started and cannot.
  void watch(clock::time_point when);
  bool is_watched() const noexcept { return op_ != nullptr && deadline_; }
  void run();
  void press(lock& held);

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
  std::uint64_t turn_ = 0;      // which turn it is
  unsigned depth_ = 0;          // of calls that the owner made in callbacks of others
  unsigned op_depth_ = 0;
  const char* op_ = nullptr;  // the outermost call
  long long since_ = 0;       // when it began, in ticks; 0: it starts no programs
  Seconds limit_ = no_limit;
  const char* clock_ = "";  // the limit's name
  std::optional<clock::time_point> deadline_;
  struct whole {
    clock::time_point deadline;
    Seconds limit;
  };
  std::optional<whole> part_;   // what the call had before the part of it that runs
  clock::time_point wakes_at_;  // the watching thread, which is awake if this is past
  ending ending_ = ending::none;
  clock::time_point kill_at_;
};

/// A forked child leaves the object alone: the parent's threads, which may hold its locks or be waited for,
/// are not there.
struct process_deleter {
  unsigned generation = fork_generation();
  template <class T>
  void operator()(T* object) const noexcept {
    if (generation == fork_generation()) delete object;
  }
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/turn/turns.ipp"
#endif
