// Whose turn it is on a handle, how long the turn may take, and how it is stopped.
//
// A call is stopped in two steps. First libguestfs is asked to cancel, repeatedly; this ends a transfer and
// leaves the handle usable. If the call has not ended after a grace period, its hypervisor is killed, or,
// before the launch, the tool that libguestfs is waiting for. A handle whose hypervisor was killed is dead
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
#include <utility>
#include <vector>

#include "guestkit/detail/base/action.hpp"
#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/turn/call_clock.hpp"
#include "guestkit/detail/turn/forced_end.hpp"
#include "guestkit/detail/turn/programs.hpp"
#include "guestkit/detail/turn/waiting_line.hpp"
#include "guestkit/detail/turn/watcher.hpp"
#include "guestkit/error.hpp"
#include "guestkit/limits.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// The error of a call that has waited longer than Limits::queue.
CallTimeout waited_too_long(const char* op, Seconds limit);

/// The turns of one handle: one thread has the turn, the others wait for theirs. Threads: any.
///
/// Its members have no mutex of their own, since its own guards them: the line of the threads, the running
/// call with its clock, the end by force, and the thread that brings this about, which runs once a call has a
/// limit or is to be stopped.
class turns {
 public:
  turns() = default;
  turns(const turns&) = delete;
  turns& operator=(const turns&) = delete;
  ~turns();

  /// Takes the turn for the calling thread, waiting while another thread has it. A thread may take it
  /// recursively. Throws HandleClosed, ApplianceKilled, CallTimeout after Limits::queue, an Error if the
  /// other thread serves a mounted directory, and, if the turn that this one is nested in was stopped, the
  /// reason for that.
  /// @param caller  the thread that waits for what this one does; 0: this one itself
  void take_turn(const char* op, pid_t caller = 0);
  /// Begins a call, in a turn of its own if the thread has none.
  void enter(const action& op);
  /// Ends what take_turn() or enter() began.
  void leave() noexcept;

  /// Begins a call without taking the turn, for what must not wait for the running call.
  void pass(const char* op);
  void leave_passing() noexcept;

  /// Runs wait() with the running call's clock stopped: waiting for others does not count against its limit.
  /// If wait() throws, the call ends.
  void off_the_clock(const std::function<void()>& wait);
  /// Shortens the running call's remaining time: its work began before the call did.
  void count_too(Seconds spent);

  /// How a part of a call ended.
  struct part_end {
    std::optional<Seconds> limit = {};  // the limit that it exceeded; nothing: it finished in time
    bool goes_on = true;                // the appliance lives, so the call may continue with something else
  };

  /// A part of the thread's call, which may use that share of the call's remaining time. If the call has no
  /// limit, neither has the part; a part inside another one has the time of that. A part that takes longer is
  /// stopped as the call would be.
  class part {
   public:
    part(turns& all, double share) : turns_(all), has_limit_(all.begin_part(share)) {}
    part(const part&) = delete;
    part& operator=(const part&) = delete;
    ~part() { end(); }
    /// Ends the part. If only the part took too long and the appliance survives, the call continues.
    part_end end() noexcept { return turns_.end_part(std::exchange(has_limit_, false)); }

   private:
    turns& turns_;
    bool has_limit_;
  };

  /// Whether the calling thread has the turn: it is inside a call or is closing the handle.
  bool is_mine() const noexcept;
  /// Whether no thread is inside. Takes no lock, since every call on Python's main thread asks.
  bool is_idle() const noexcept { return inside_ == 0 || closing_; }
  bool is_open() const noexcept;

  /// The directory that mount_local_run() will serve.
  void serves_at(const std::string& directory);
  /// Throws the Error of calls that are made meanwhile.
  void refuse_if_serving(const char* op) const;
  /// Whether a thread is in mount_local_run(), which ends when somebody unmounts the directory.
  bool is_serving() const noexcept;

  /// Refuses new calls and waits for those inside. Returns false if another thread has already closed the
  /// handle. Throws Error if mount_local_run() does not end; the handle stays open then.
  /// @param unmount  ends mount_local_run(), and must not throw
  bool begin_close(const std::function<void()>& unmount);
  void end_close() noexcept;

  /// Stops the transfer, if one is running.
  void cancel_transfer() noexcept;

  /// Replaces the C handle with another one. Only for the thread that has the turn.
  void replace(guestfs_h* fresh) noexcept;

  /// What the calls of a launch have in common.
  struct whole_launch {
    std::optional<std::chrono::steady_clock::time_point> began = {};
    std::vector<pid_t> spared = {};  // children of its thread that are the user's
    unsigned callbacks = 0;          // how many of the user's it is inside of
  };

  /// Between these two, all calls of a launch share its limit. Only for the thread that has the turn.
  /// @return the launch that contains this one, by a callback: for the end
  whole_launch launch_begins();
  void launch_ends(whole_launch enclosing) noexcept;
  /// Whether the calling thread is inside a call of a launch.
  bool is_launching_here() const noexcept;
  /// Between these two, a callback of the launch runs on the calling thread. Without the end, tools are known
  /// by their names until the launch ends.
  void callback_begins() noexcept;
  /// @param started  children of the thread that the callback has started: they are the user's
  void callback_ends(const std::vector<pid_t>& started);

  /// Sets which hypervisor is started, and the argument of its -name, by which it is found.
  void expect_hypervisor(std::string file, std::string name) noexcept;

  /// Ends the current turn, if any thread has it, in the two steps described above; a close goes on. If only
  /// a part of the call is being stopped, all of the call is from now on. Returns at once. If no thread can
  /// be started to wait out the grace period, there is none.
  void cancel();

  /// Takes that thread's call out of the line if it waits there: it throws Error with EINTR and never runs.
  /// @return whether a cancel() or terminate() would be for the thread's call: it has the turn, or may be a
  ///         close, which waits for the calls inside, or wait for the end of a mount
  bool withdraw(pid_t caller) noexcept;

  /// Kills whatever runs for the handle, which is dead from then on. Does not wait.
  void terminate();

  /// Whether the call was stopped, or the hypervisor killed.
  bool was_stopped() const noexcept;
  /// Throws the reason why a call was stopped; returns if it was not.
  void throw_if_stopped(const char* op, const std::string& message, int number,
                        const std::vector<std::string>& console);

  guestfs_h* h = nullptr;
  Limits limits;

  /// For a launch for which the user gave no limit, known once that has chosen its accelerator.
  std::optional<Seconds> usual_launch_limit = {};

  std::optional<Seconds> launch_limit() const { return limits.launch ? limits.launch : usual_launch_limit; }
  std::atomic<bool> launched{false};  // the appliance came up and no call has shut it down

 private:
  using clock = call_clock::clock;
  using lock = watcher::lock;

  bool begin_part(double share);
  part_end end_part(bool has_limit) noexcept;

  // With the lock held.
  void take_turn(lock& held, const char* op, pid_t caller);
  void wait_for_turn(lock& held, const char* op, pid_t caller);
  void leave_turn() noexcept;
  void leave_locked() noexcept;
  void count(int change) noexcept;
  [[noreturn]] void refuse_while_serving(const char* op) const;
  void refuse_if_over(const char* op, bool killed_too = true) const;

  bool is(call_kind kind) const noexcept { return running_ && running_->kind == kind; }
  bool is_launching() const noexcept { return is(call_kind::launch) || (running_ && running_->launch); }
  bool is_in_part() const noexcept { return running_ && running_->clock.is_in_part(); }
  void begin_call(const action& op);
  void begin_inner_launch();
  void end_inner_launch() noexcept;
  named_limit limit_of_launch() const;
  running_call call() const;

  /// Has the call stopped when its time is over. Throws Error if the thread for that cannot be started.
  void keep_time();
  std::optional<clock::time_point> enforce(lock& held);
  void stop(forced_end::kind how);
  void press(lock& held);
  void kill_programs(const std::vector<program>& programs);

  /// A launch inside another call, which a callback began or an inspection.
  struct inner_launch {
    unsigned depth;   // of its call
    long long since;  // of the enclosing call
  };

  /// The outermost call of a turn.
  struct outermost_call {
    outermost_call(const action& of, unsigned its_depth)
        : op(of.name), kind(of.kind), depth(its_depth), since(of.may_run_programs ? ticks_now() : 0) {}

    const char* op;
    call_kind kind;
    unsigned depth;   // how deeply it is nested in its turn
    long long since;  // its programs are younger, in ticks; 0: it starts none
    call_clock clock;
    std::optional<inner_launch> launch;
  };

  mutable std::mutex mutex_;         // guards all that follows
  std::condition_variable changed_;  // for a close: a call or the handle has ended, or a directory is served
  std::atomic<int> inside_{0};       // how many calls, including those waiting for their turn
  waiting_line line_;
  std::optional<outermost_call> running_;
  std::string served_at_;  // where mount_local_run() serves

  // The hypervisor
  std::string hypervisor_;       // what is started as QEMU
  std::string hypervisor_name_;  // by which that is found

  // The launch that the running call is, or that is inside it
  whole_launch launch_;
  std::uint64_t callbacks_begun_ = 0;  // in all launches

  // The end of the call, and of the handle
  forced_end end_;
  std::atomic<bool> closing_{false};
  bool closed_ = false;

  watcher watcher_{mutex_, [this](lock& held) { return enforce(held); }};
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/turn/turns.ipp"
#endif
