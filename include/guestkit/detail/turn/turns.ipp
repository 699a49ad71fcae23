#pragma once

#include <algorithm>
#include <cerrno>
#include <exception>
#include <utility>

#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/base/seconds.hpp"
#include "guestkit/detail/base/threads.hpp"
#include "guestkit/detail/turn/turns.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// A cancel that arrives just before a transfer begins is lost, so it is sent repeatedly.
inline constexpr std::chrono::milliseconds cancel_interval{30};
/// The least grace period of a part: the rest of the call still needs the appliance.
inline constexpr Seconds grace_of_part{2};
/// How long mount_local_run() may still run when what ends it has been tried.
inline constexpr std::chrono::seconds time_after_unmount{1};

GUESTKIT_INLINE CallTimeout waited_too_long(const char* op, Seconds limit) {
  const auto text = "waited longer than " + shown(limit) + " for its turn (queue_timeout); it did not run";
  return CallTimeout(op, text, ETIMEDOUT, Cause::queue_timeout, limit, "queue_timeout");
}

GUESTKIT_INLINE turns::~turns() {
  lock held(mutex_);
  watcher_.end(held);
}

GUESTKIT_INLINE void turns::take_turn(const char* op, pid_t caller) {
  lock held(mutex_);
  take_turn(held, op, caller);
}

GUESTKIT_INLINE void turns::enter(const action& op) {
  lock held(mutex_);
  take_turn(held, op.name, 0);
  if (!running_)
    begin_call(op);
  else if (op.is(call_kind::launch) && !is_launching())
    begin_inner_launch();
  else
    return;
  try {
    keep_time();
  } catch (...) {
    leave_turn();
    throw;
  }
}

GUESTKIT_INLINE void turns::leave() noexcept {
  const lock held(mutex_);
  leave_turn();
}

GUESTKIT_INLINE void turns::pass(const char* op) {
  const lock held(mutex_);
  refuse_if_over(op, false);
  count(+1);
}

GUESTKIT_INLINE void turns::leave_passing() noexcept {
  const lock held(mutex_);
  leave_locked();
}

GUESTKIT_INLINE void turns::off_the_clock(const std::function<void()>& wait) {
  std::optional<clock::duration> left;
  {
    const lock held(mutex_);
    if (running_) left = running_->clock.pause();
  }
  const auto begin = clock::now();
  wait();
  const lock held(mutex_);
  if (launch_.began) *launch_.began += clock::now() - begin;
  if (!left || !running_) return;
  running_->clock.resume(*left);
  keep_time();
}

GUESTKIT_INLINE void turns::count_too(Seconds spent) {
  const lock held(mutex_);
  if (!running_) return;
  running_->clock.count_too(spent);
  keep_time();
}

/// Returns whether it has a limit of its own.
GUESTKIT_INLINE bool turns::begin_part(double share) {
  const lock held(mutex_);
  if (end_.has_begun() || !running_ || !running_->clock.begin_part(share)) return false;
  keep_time();
  return true;
}

GUESTKIT_INLINE turns::part_end turns::end_part(bool has_limit) noexcept {
  const lock held(mutex_);
  if (!has_limit) return {.goes_on = !end_.is_killed() && (is_in_part() || !end_.has_begun())};
  part_end end{.goes_on = !end_.is_killed() && !end_.is(forced_end::kind::cancelled)};
  if (end_.is(forced_end::kind::timed_out)) end.limit = end_.exceeded().time;
  running_->clock.end_part();
  if (end.goes_on)
    end_.forget();
  else
    end_.exceeds(running_->clock.limit());
  return end;
}

GUESTKIT_INLINE bool turns::is_mine() const noexcept {
  const lock held(mutex_);
  return line_.owner() == thread_id();
}

GUESTKIT_INLINE bool turns::is_open() const noexcept {
  const lock held(mutex_);
  return !closing_;
}

GUESTKIT_INLINE void turns::serves_at(const std::string& directory) {
  const lock held(mutex_);
  served_at_ = directory;
}

GUESTKIT_INLINE void turns::refuse_if_serving(const char* op) const {
  const lock held(mutex_);
  if (is(call_kind::serve)) refuse_while_serving(op);
}

GUESTKIT_INLINE bool turns::is_serving() const noexcept {
  const lock held(mutex_);
  return is(call_kind::serve);
}

GUESTKIT_INLINE bool turns::begin_close(const std::function<void()>& unmount) {
  lock held(mutex_);
  while (closing_.exchange(true)) {
    changed_.wait(held, [&] { return closed_ || !closing_; });
    if (closed_) return false;
  }
  while (inside_ != 0) {
    changed_.wait(held, [&] { return inside_ == 0 || is(call_kind::serve); });
    if (!is(call_kind::serve)) continue;
    held.unlock();
    unmount();
    held.lock();
    if (changed_.wait_for(held, time_after_unmount, [&] { return !is(call_kind::serve); })) continue;
    closing_ = false;
    changed_.notify_all();
    throw Error("close", shown(served_at_) + ": the thread that serves it did not stop", ETIMEDOUT,
                {Cause::unknown, "end the programs that use it, then close the handle again"});
  }
  line_.begin(thread_id(), thread_id());
  end_.forget();
  running_.emplace(action("close"), line_.depth());
  running_->clock.begin({limits.close, "close_timeout"});
  try {
    keep_time();
  } catch (const std::exception&) {  // no thread can be started: close without a limit
  }
  return true;
}

GUESTKIT_INLINE void turns::end_close() noexcept {
  const lock held(mutex_);
  running_.reset();
  line_.end();
  closed_ = true;
  changed_.notify_all();
}

GUESTKIT_INLINE void turns::cancel_transfer() noexcept {
  const lock held(mutex_);
  if (h != nullptr) guestfs_user_cancel(h);
}

GUESTKIT_INLINE void turns::replace(guestfs_h* fresh) noexcept {
  const lock held(mutex_);
  h = fresh;
  hypervisor_name_.clear();
}

GUESTKIT_INLINE turns::whole_launch turns::launch_begins() {
  whole_launch fresh{clock::now(), children_of_this_thread()};
  const lock held(mutex_);
  return std::exchange(launch_, std::move(fresh));
}

GUESTKIT_INLINE void turns::launch_ends(whole_launch enclosing) noexcept {
  const lock held(mutex_);
  launch_ = std::move(enclosing);
}

GUESTKIT_INLINE bool turns::is_launching_here() const noexcept {
  const lock held(mutex_);
  return line_.owner() == thread_id() && launch_.began && is_launching();
}

GUESTKIT_INLINE void turns::callback_begins() noexcept {
  const lock held(mutex_);
  ++launch_.callbacks;
  ++callbacks_begun_;
}

GUESTKIT_INLINE void turns::callback_ends(const std::vector<pid_t>& started) {
  const lock held(mutex_);
  launch_.spared.insert(launch_.spared.end(), started.begin(), started.end());
  --launch_.callbacks;
}

GUESTKIT_INLINE void turns::expect_hypervisor(std::string file, std::string name) noexcept {
  const lock held(mutex_);
  hypervisor_ = std::move(file);
  hypervisor_name_ = std::move(name);
}

GUESTKIT_INLINE void turns::cancel() {
  const lock held(mutex_);
  if (line_.owner() == 0) return;
  if (is(call_kind::close)) return;  // which writes what the guest has not yet written
  if (is_in_part() && end_.is(forced_end::kind::timed_out))  // of the part: now it is the whole call's
    end_.begin(forced_end::kind::cancelled,
               std::min(end_.kill_at(), clock::now() + to_clock(limits.cancel_grace)));
  if (end_.has_begun()) return;
  try {
    stop(forced_end::kind::cancelled);
  } catch (const Error&) {
    guestfs_user_cancel(h);
    kill_programs(programs_of(hypervisor_name_, call()));
  }
}

GUESTKIT_INLINE bool turns::withdraw(pid_t caller) noexcept {
  const lock held(mutex_);
  if (line_.withdraw(caller)) return false;
  return line_.caller() == caller || closing_ || is(call_kind::serve);
}

GUESTKIT_INLINE void turns::terminate() {
  const lock held(mutex_);
  if (closed_) return;
  end_.note_kill("terminate() was called");
  kill_programs(programs_of(hypervisor_name_, call()));
  if (!running_) return;
  end_.begin(forced_end::kind::terminated, {});
  try {
    watcher_.look_at({}, running_->op);  // kill whatever is being started at this moment
  } catch (const Error&) {               // no thread can be started
  }
}

GUESTKIT_INLINE bool turns::was_stopped() const noexcept {
  const lock held(mutex_);
  return end_.has_begun() || end_.is_killed();
}

GUESTKIT_INLINE void turns::throw_if_stopped(const char* op, const std::string& message, int number,
                                             const std::vector<std::string>& console) {
  const lock held(mutex_);
  if (end_.has_begun() || end_.is_killed()) end_.fail(op, message, number, console);
}

GUESTKIT_INLINE named_limit turns::limit_of_launch() const {
  return {launch_limit().value_or(no_limit), "launch_timeout", Cause::launch_timeout};
}

GUESTKIT_INLINE void turns::begin_call(const action& op) {
  auto& call = running_.emplace(op, line_.depth());
  if (op.is(call_kind::launch)) {
    call.clock.begin(limit_of_launch(), launch_.began);
  } else if (op.is(call_kind::serve)) {  // without a limit: it lasts as long as the user wants
    line_.wake_all();                    // to be refused
    changed_.notify_all();
  } else {
    call.clock.begin({limits.call, "call_timeout", Cause::call_timeout});
  }
}

GUESTKIT_INLINE void turns::begin_inner_launch() {
  running_->launch = inner_launch{line_.depth(), running_->since};
  if (running_->since == 0) running_->since = ticks_now();
  running_->clock.begin_launch(limit_of_launch(), launch_.began.value_or(clock::now()));
}

GUESTKIT_INLINE void turns::end_inner_launch() noexcept {
  running_->since = running_->launch->since;
  running_->launch.reset();
  running_->clock.end_launch();
}

GUESTKIT_INLINE void turns::take_turn(lock& held, const char* op, pid_t caller) {
  refuse_if_over(op);
  count(+1);
  try {
    if (const pid_t thread = thread_id(); line_.owner() != thread) {
      if (caller == 0) caller = thread;
      wait_for_turn(held, op, caller);
      end_.refuse_if_killed(op);
      line_.begin(thread, caller);
      end_.forget();
    }
    if (end_.has_begun()) end_.fail(op, "", EINTR, {});
  } catch (...) {
    leave_locked();
    throw;
  }
  line_.take();
}

GUESTKIT_INLINE void turns::wait_for_turn(lock& held, const char* op, pid_t caller) {
  using enum waiting_line::wait_end;
  if (line_.is_free()) return;
  const auto end = line_.wait(held, limits.queue, caller, [this] { return is(call_kind::serve); });
  if (end == withdrawn) throw Error(op, "cancelled while it waited for its turn; it did not run", EINTR);
  if (is(call_kind::serve)) refuse_while_serving(op);
  if (end == too_late) throw waited_too_long(op, limits.queue);
}

GUESTKIT_INLINE void turns::refuse_while_serving(const char* op) const {
  throw Error(op, "the handle serves " + shown(served_at_) + " until that is unmounted", EBUSY,
              {Cause::mounted, "use the files there, or open the disk with a second handle"});
}

GUESTKIT_INLINE void turns::leave_turn() noexcept {
  const auto depth = line_.depth();
  if (running_ && running_->depth == depth)
    running_.reset();
  else if (running_ && running_->launch && running_->launch->depth == depth)
    end_inner_launch();
  line_.leave();
  leave_locked();
}

GUESTKIT_INLINE void turns::leave_locked() noexcept {
  count(-1);
  line_.wake_first();
  changed_.notify_all();
}

/// The lock is held, so this needs no atomic read-modify-write.
GUESTKIT_INLINE void turns::count(int change) noexcept {
  inside_.store(inside_.load(std::memory_order_relaxed) + change, std::memory_order_relaxed);
}

GUESTKIT_INLINE void turns::refuse_if_over(const char* op, bool killed_too) const {
  // The close waits for the call that this one is nested in.
  const bool is_within = line_.depth() > 0 && line_.owner() == thread_id();
  if (closing_ && !is_within) throw HandleClosed(op, "the handle is closed", EBADF);
  if (killed_too) end_.refuse_if_killed(op);
}

GUESTKIT_INLINE running_call turns::call() const {
  if (!running_ || running_->since == 0) return {};
  running_call running{line_.owner(), running_->since, hypervisor_};
  if (launch_.began && is_launching() && launch_.callbacks == 0) running.spared = launch_.spared;
  return running;
}

GUESTKIT_INLINE void turns::keep_time() {
  if (const auto& deadline = running_->clock.deadline()) watcher_.look_at(*deadline, running_->op);
}

/// What the watching thread does.
GUESTKIT_INLINE std::optional<turns::clock::time_point> turns::enforce(lock& held) {
  if (!running_) return {};
  if (!end_.has_begun()) {
    const auto& deadline = running_->clock.deadline();
    if (!deadline || clock::now() < *deadline) return deadline;
    stop(forced_end::kind::timed_out);
  }
  press(held);
  return clock::now() + cancel_interval;
}

GUESTKIT_INLINE void turns::stop(forced_end::kind how) {
  const bool ends_appliance = is(call_kind::shut_down);  // which counts as launched no more
  const bool gentle = (launched || ends_appliance) && !is_launching() && !is(call_kind::close);
  auto grace = gentle ? limits.cancel_grace : Seconds(0);
  const bool is_of_part = is_in_part() && how == forced_end::kind::timed_out;
  if (gentle && is_of_part) grace = std::max(grace, grace_of_part);
  const auto now = clock::now();
  end_.begin(how, now + to_clock(grace), running_ ? running_->clock.limit() : named_limit{});
  if (running_) watcher_.look_at(now, running_->op);
}

/// Cancels the running call, or, when its grace period is over, kills what it runs. The lock keeps the call
/// from ending in the meantime, so the next one cannot be hit.
GUESTKIT_INLINE void turns::press(lock& held) {
  if (clock::now() < end_.kill_at()) {
    guestfs_user_cancel(h);
    return;
  }
  const auto turn = line_.number();
  const auto callbacks = callbacks_begun_;
  const auto name = hypervisor_name_;
  const auto running = call();
  held.unlock();  // reading /proc takes a moment
  const auto programs = programs_of(name, running);
  held.lock();
  if (turn != line_.number() || !running_ || !end_.has_begun()) return;
  if (callbacks == callbacks_begun_)
    kill_programs(programs);
  else  // one may have started some of them: the hypervisor is certain
    kill_programs(programs_of(name, {}));
}

GUESTKIT_INLINE void turns::kill_programs(const std::vector<program>& programs) {
  const std::string op = !running_ ? "" : running_->launch ? "launch" : running_->op;
  for (const auto& found : programs)
    if (found.kill() && (found.hypervisor || is_launching())) end_.note_kill(end_.reason(op));
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
