// The one way into libguestfs. Every action goes through call(): arguments to C, the call, the check, the
// error taken on this thread, the result owned.
//
// Threads: any thread may call on a handle at any time; libguestfs lets one call of a handle run and the
// others wait. A closing handle waits for the calls that are in it and lets no new one in.
#pragma once

#include <guestfs.h>
#include <sys/eventfd.h>
#include <sys/select.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/base/unique_fd.hpp"
#include "guestkit/detail/call/action.hpp"
#include "guestkit/detail/call/convert.hpp"
#include "guestkit/detail/launch/appliance.hpp"
#include "guestkit/detail/launch/console.hpp"
#include "guestkit/detail/launch/scratch.hpp"
#include "guestkit/detail/turn/admission.hpp"
#include "guestkit/detail/turn/control.hpp"
#include "guestkit/error.hpp"
#include "guestkit/launch_error.hpp"

namespace guestkit::inline GUESTKIT_FORM {

/// At most this many handles may be open at once in a process: libguestfs aborts it a little above.
inline constexpr int max_handles = 1000;

enum class LogLevel { debug, info, warning, error };

/// Receives guestkit's own log lines, on the thread that caused them; it must not throw.
using LogSink = std::function<void(LogLevel, const std::string&)>;

namespace detail {

template <class T>
struct basic_listener;  // event.hpp

inline std::uint64_t next_serial() noexcept {
  static std::atomic<std::uint64_t> serial{0};
  return ++serial;
}

/// One of the places for open handles that the process has.
class handle_place {
 public:
  handle_place() {
    if (count().fetch_add(1) < max_handles) return;
    count().fetch_sub(1);
    throw Error("create", "1000 handles are open in this process, the most that libguestfs bears; close some",
                EMFILE);
  }
  ~handle_place() { give_back(); }
  handle_place(const handle_place&) = delete;
  handle_place& operator=(const handle_place&) = delete;
  void give_back() noexcept {
    if (std::exchange(held_, false)) count().fetch_sub(1);
  }

 private:
  static std::atomic<int>& count() noexcept {
    static std::atomic<int> open{0};
    return open;
  }
  bool held_ = true;
};

/// What a fast launch sets in the user's place.
enum class launch_setting { path, hypervisor, cachedir, append };

/// What a handle is made of. Shared by the handle, the calls that run on it and, weakly, its subscriptions:
/// an object that its own callback destroys serves the call to its end.
template <class T = void>
struct basic_handle_state {
  /// What the user gave the machine before its launch, to give it to a fresh handle too.
  struct addition {
    bool disk = false;  // libguestfs forgets disks when an appliance ends, and nothing else
    std::function<bool(guestfs_h*)> repeat;
  };
  /// What the user set, if a launch has put something else in its place.
  struct covered_setting {
    bool is_covered = false;
    std::optional<std::string> own = {};
  };

  handle_place place;
  guestfs_h* h = nullptr;
  std::uint64_t serial = next_serial();  // of the C handle: addresses are used again, serials are not
  const unsigned generation = fork_generation();
  const std::unique_ptr<control, process_deleter> work{new control};
  std::atomic<bool> verbose{false};  // library and console lines are to be seen on stderr
  std::atomic<bool> traces{false};   // so are traces
  basic_console_ring<T> console;
  LogSink log;
  LogLevel log_level = LogLevel::info;
  admission::place memory;                      // for its appliance; changed in a turn or at the end
  std::shared_ptr<basic_scratch<T>> temporary;  // where libguestfs makes its own directory
  std::vector<std::shared_ptr<void>> disks;     // what QEMU is to open when it starts; of whose turn it is
  std::mutex launch_mutex;
  std::array<covered_setting, 4> covered;  // by launch_setting; guarded by launch_mutex
  std::optional<LaunchInfo> launch;        // the last one that succeeded; guarded by launch_mutex
  std::string verdict;                  // of a template's hypervisor, on this launch; guarded by launch_mutex
  std::vector<addition> additions;      // used by the thread that has the turn
  std::atomic<bool> disks_gone{false};  // those among the additions are libguestfs' no more
  std::atomic<bool> native_given{false};  // the C handle is in others' hands and must stay what it is
  std::mutex listeners_mutex;  // guards the two below; never held while a callback runs or is destroyed
  std::map<int, std::shared_ptr<basic_listener<T>>> listeners;  // by number, that is in order of registration
  std::atomic<std::uint64_t> listened{0};                       // the events that somebody listens to

  basic_handle_state() = default;
  basic_handle_state(const basic_handle_state&) = delete;
  basic_handle_state& operator=(const basic_handle_state&) = delete;
  ~basic_handle_state() { end(); }

  void refuse_fork(const char* op) const {
    if (generation != fork_generation())
      throw HandleClosed(op, "the handle belongs to the process before the fork; open one in this process",
                         EBADF);
  }

  bool wants(LogLevel level) const noexcept { return log && level >= log_level; }

  /// Frees the C handle. No call may be inside it.
  void end() noexcept {
    if (h == nullptr || generation != fork_generation()) return;
    guestfs_set_error_handler(h, nullptr, nullptr);
    guestfs_close(std::exchange(h, nullptr));
    memory.give_back();
    end_listeners();
    disks.clear();
    if (temporary) temporary->note_sockets(serial, "");
    temporary.reset();
    place.give_back();
  }

 private:
  void end_listeners() noexcept {
    decltype(listeners) ended;
    const std::lock_guard lock(listeners_mutex);
    ended.swap(listeners);
  }
};
using handle_state = basic_handle_state<>;

/// The calling thread's turn on a handle, for several calls that belong together: they are stopped together.
template <class T = void>
class basic_turn {
 public:
  /// @param op  what they are called together; must live for ever
  basic_turn(std::shared_ptr<basic_handle_state<T>> state, const char* op) : state_(std::move(state)) {
    if (!state_) throw HandleClosed(op, "the handle was moved from", EBADF);
    state_->refuse_fork(op);
    state_->work->take_turn(op);
  }
  basic_turn(const basic_turn&) = delete;
  basic_turn& operator=(const basic_turn&) = delete;
  ~basic_turn() { state_->work->leave(); }

 private:
  std::shared_ptr<basic_handle_state<T>> state_;
};
using turn = basic_turn<>;

/// Whether the next files that this process opens have descriptors that select() can wait for.
inline bool low_descriptors_are_free() noexcept {
  constexpr std::size_t needed = 16;  // more than such an action opens: other threads open files too
  std::array<unique_fd, needed> next;
  for (auto& each : next) {
    each = unique_fd(::eventfd(0, EFD_CLOEXEC));
    if (each.get() >= FD_SETSIZE) return false;
  }
  return true;
}

/// One call on a handle, from entering it to leaving it, with the error that it left.
template <class T = void>
class basic_call_scope {
 public:
  /// @param takes_turn  false for user_cancel alone, which must not wait for the call that it is to stop
  basic_call_scope(std::shared_ptr<basic_handle_state<T>> state, const action& op, bool takes_turn = true)
      : state_(std::move(state)), op_(op), takes_turn_(takes_turn), outer_(here.innermost) {
    if (!state_) throw HandleClosed(op.name, "the handle was moved from", EBADF);
    state_->refuse_fork(op.name);
    if (takes_turn)
      state_->work->enter(op);
    else
      state_->work->pass(op.name);
    auto& mine = here;
    mine.innermost = this;
    if (takes_turn && mine.silenced != state_->serial) {
      guestfs_set_error_handler(state_->h, &take, nullptr);
      mine.silenced = state_->serial;
    }
  }
  ~basic_call_scope() {
    here.innermost = outer_;
    if (takes_turn_)
      state_->work->leave();
    else
      state_->work->leave_passing();
  }
  basic_call_scope(const basic_call_scope&) = delete;
  basic_call_scope& operator=(const basic_call_scope&) = delete;

  guestfs_h* h() const noexcept { return state_->h; }

  /// With descriptors too high for it, libguestfs would abort the process.
  void refuse_high_descriptors() {
    if (op_.waits_for_programs && !low_descriptors_are_free())
      fail(
          "1000 files are open in this process: with more, libguestfs aborts it when it runs a program. "
          "Close some, or use a process of its own for disks",
          EMFILE);
  }

  /// The call must not be made.
  [[noreturn]] void fail(const char* message, int number) {
    message_ = message;
    number_ = number;
    fail();
  }

  /// The call has failed: throw what libguestfs said.
  [[noreturn]] void fail() const {
    const auto console = state_->console.lines();
    state_->work->throw_if_stopped(op_.name, message_, number_, console);
    if (op_.is_launch) throw LaunchError(op_.name, message_, number_, console);
    // The appliance was up and nobody shut it down, but it is no longer ready: that is its death, whatever
    // the message and the errno are.
    if (state_->work->launched && guestfs_is_ready(state_->h) == 0) {
      state_->work->launched = false;
      state_->memory.give_back();
      throw ApplianceCrashed(op_.name, message_, number_, console);
    }
    throw Error(op_.name, message_, number_);
  }

 private:
  /// libguestfs keeps the error handler for each thread, and prints to stderr in a thread that set none.
  /// This one stays installed; it runs in the failing call, with the lock held, so nothing can come between.
  static void take(guestfs_h* h, void*, const char* message) noexcept {
    basic_call_scope* const call = here.innermost;
    if (call == nullptr || call->state_->h != h) return;
    try {
      call->message_ = message;
      call->number_ = guestfs_last_errno(h);
    } catch (...) {  // no memory for the message: fail() says that there is none
    }
  }

  struct of_thread {
    basic_call_scope* innermost = nullptr;
    std::uint64_t silenced = 0;  // serial of the handle that take() was set for last
  };
  inline static thread_local constinit of_thread here{};

  std::shared_ptr<basic_handle_state<T>> state_;
  action op_;
  bool takes_turn_;
  basic_call_scope* outer_;  // a call made in a callback of another one
  std::string message_;
  int number_ = 0;
};
using call_scope = basic_call_scope<>;

/// A secret among the arguments stays out of every log line and error; keys libguestfs hides itself.
template <class T, class A>
void hide_secrets(basic_console_ring<T>& console, const A& argument) {
  if constexpr (requires { argument.secret; })
    if (argument.secret) console.hide(*argument.secret);
}

/// Calls fn and returns what it returned, owned; throws Error if that means a failure.
template <class R, class T, class C, class... P, class... A>
c_result<R> call(const std::shared_ptr<basic_handle_state<T>>& state, const action& op,
                 C (*fn)(guestfs_h*, P...), const A&... arguments) {
  basic_call_scope<T> scope(state, op);
  (hide_secrets(state->console, arguments), ...);
  scope.refuse_high_descriptors();
  if constexpr (std::is_same_v<R, buffer>) {
    std::size_t size = 0;
    C c;
    if constexpr (std::is_invocable_v<decltype(fn), guestfs_h*, decltype(lower(arguments))..., std::size_t*>)
      c = fn(scope.h(), lower(arguments)..., &size);
    else  // inspect_get_icon alone has its options behind the size
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

}  // namespace detail
}  // namespace guestkit::inline GUESTKIT_FORM
