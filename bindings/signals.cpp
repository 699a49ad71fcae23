// One stack of calls on two threads: one of them runs, the other one waits at its mailbox. A launch whose
// callback makes a call itself:
//
//   main thread                                      helper
//   launch(): call_aside()
//     innermost = launch, helper.busy
//     ask(helper): posts the call, waits       ──▶   guestfs_launch()
//     PyErr_CheckSignals() at every interval           has an event: on_calling_thread()
//                                              ◀──     ask(main): posts the callback, waits
//     asking = helper; the callback, in Python
//       get_memsize(): call_aside()
//         the same helper: it has the turn
//         innermost = get_memsize, outer = launch
//         ask(helper): posts the call, waits   ──▶       guestfs_get_memsize()
//                                              ◀──       posts "done"
//         innermost = launch
//     asking = none; posts "done"              ──▶     goes on in guestfs_launch(), which returns
//                                              ◀──   posts "done"
//     innermost = none, the helper is free
//   launch() returns, or raises what interrupt() has kept
//
// A signal handler runs where the main thread looks for signals, with asking = none: no callback waits for
// it. A call that it makes on another handle gets a second helper, and is innermost while it lasts.
#include "signals.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

#include "error.hpp"
#include "guestkit/detail/base/fork.hpp"
#include "guestkit/detail/base/threads.hpp"
#include "object.hpp"

namespace guestkit::python {

namespace {

using Job = std::function<void()>;

/// How often the main thread checks for signals. A signal that arrives while it waits is delayed, not lost.
constexpr std::chrono::milliseconds interval{50};

/// Jobs that one thread asks the other to do.
class mailbox {
 public:
  void post(Job job) {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
    posted_.notify_one();
  }

  /// Runs jobs as they arrive, until one of them sets `until`.
  /// @param meanwhile  runs between the jobs and at every interval
  void run(const bool& until, const Job& meanwhile = {}) {
    std::unique_lock lock(mutex_);
    while (!until) {
      if (jobs_.empty() && meanwhile) {
        if (!posted_.wait_for(lock, interval, [&] { return !jobs_.empty(); })) {
          lock.unlock();
          meanwhile();
          lock.lock();
        }
        continue;
      }
      posted_.wait(lock, [&] { return !jobs_.empty(); });
      const auto job = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      job();
      lock.lock();
    }
  }

 private:
  std::mutex mutex_;
  std::condition_variable posted_;
  std::deque<Job> jobs_;
};

/// A thread that makes calls for the main thread.
struct helper {
  mailbox box;
  bool busy = false;             // it makes a call; only the main thread looks at this
  std::atomic<pid_t> thread{0};  // its number; 0: it has not started yet

  helper();
};

/// The helper that this thread is, if it is one.
thread_local helper* self = nullptr;

helper::helper() {
  detail::start_thread("", [this] {
    self = this;
    thread = detail::thread_id();
    constexpr bool never = false;
    box.run(never);
  });
}

/// A call of the main thread that a helper makes.
struct pending {
  Handle& handle;
  helper& on;
  pending* outer;              // the one that goes on meanwhile; null: none
  PyObject* raised = nullptr;  // what a signal handler or a callback raised, to be raised by the call

  /// Saves the current exception and ends the call: gently at first. Other threads' calls on the handle go
  /// on.
  void interrupt();
};

void pending::interrupt() {
  PyObject *type = nullptr, *value = nullptr, *traceback = nullptr;
  PyErr_Fetch(&type, &value, &traceback);
  PyErr_NormalizeException(&type, &value, &traceback);
  if (traceback != nullptr) PyException_SetTraceback(value, traceback);
  Py_XDECREF(type);
  Py_XDECREF(traceback);
  const bool again = raised != nullptr;
  Py_XDECREF(std::exchange(raised, value));
  if (!state_of(handle)->turns->withdraw(on.thread)) return;
  if (again)
    handle.terminate();
  else
    handle.cancel();
}

/// What the main thread knows of its calls. Only `box` is for other threads, too.
struct main_thread {
  mailbox box;                   // the helpers' jobs for it
  pending* innermost = nullptr;  // the call that it waits for
  helper* asking = nullptr;      // the helper whose job it does
  std::deque<helper> helpers;    // whose threads never end

  /// The helper for its next call. In a callback that is the one whose callback it is, since it has the turn
  /// of the handle. A signal handler runs while that one is inside libguestfs, and gets another; but for a
  /// handle with a pending call the helper of that call, or each would wait for the other's turn.
  helper& helper_for(const Handle& handle) {
    if (asking != nullptr) return *asking;
    for (const pending* each = innermost; each != nullptr; each = each->outer)
      if (&each->handle == &handle) return each->on;
    for (helper& each : helpers)
      if (!each.busy) return each;
    return helpers.emplace_back();
  }

  /// The call whose callback the main thread runs; outside of callbacks that for which it waits.
  pending* current() const noexcept {
    pending* found = innermost;
    while (found != nullptr && asking != nullptr && &found->on != asking) found = found->outer;
    return found;
  }
};

constinit detail::of_process<main_thread> the_main_thread;

/// Sets a variable for a scope.
template <class T>
class during {
 public:
  during(T& variable, T value) : variable_(variable), before_(std::exchange(variable, value)) {}
  during(const during&) = delete;
  during& operator=(const during&) = delete;
  ~during() { variable_ = before_; }

 private:
  T& variable_;
  T before_;
};

/// Has the other thread do a job and waits for it, meanwhile doing what others ask of this one.
template <class... Meanwhile>
void ask(mailbox& other, mailbox& own, const Job& job, const Meanwhile&... meanwhile) {
  bool done = false;
  std::exception_ptr error;
  other.post([&] {
    try {
      job();
    } catch (...) {
      error = std::current_exception();
    }
    own.post([&] { done = true; });
  });
  own.run(done, meanwhile...);
  if (error) std::rethrow_exception(error);
}

/// Whether a call should run on a helper: on the main thread, if it may take long.
bool belongs_aside(const Handle& handle, bool slow) noexcept {
  return (slow || handle.has_appliance() || !handle.is_idle()) && detail::this_thread().is_main &&
         !handle.is_mine();
}

/// Has a helper make the call while this thread, the main one, waits for it and for signals. If no thread can
/// be started, signals have to wait.
void call_aside(Handle& handle, Body call) {
  main_thread& here = the_main_thread.get();
  helper* found = nullptr;
  try {
    found = &here.helper_for(handle);
  } catch (const Error&) {
    return call();
  }
  pending made{.handle = handle, .on = *found, .outer = here.innermost};
  std::exception_ptr error;
  {
    const during busy(found->busy, true);
    const during innermost(here.innermost, &made);
    const auto look_for_signals = [&] {
      with_gil([&] {
        const during asking(here.asking, static_cast<helper*>(nullptr));
        if (PyErr_CheckSignals() != 0) made.interrupt();
      });
    };
    try {
      ask(found->box, here.box, call, Job(look_for_signals));
    } catch (...) {
      error = std::current_exception();
    }
  }
  if (made.raised != nullptr) {
    with_gil([&] {
      PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(made.raised)), made.raised);
      Py_DECREF(made.raised);
    });
    throw PythonError{};
  }
  if (error) std::rethrow_exception(error);
}

/// Runs Python code while an exception may already be set: a handle that is closed because of one logs its
/// end and tells its listeners. Python would lose the one that is set.
void apart_from_exceptions(Body body) {
  PyObject *type = nullptr, *value = nullptr, *traceback = nullptr;
  PyErr_Fetch(&type, &value, &traceback);
  Ref kept_type(type), kept_value(value), kept_traceback(traceback);
  body();
  PyErr_Restore(kept_type.release(), kept_value.release(), kept_traceback.release());
}

}  // namespace

void without_gil(Handle& handle, bool slow, Body call) {
  const GilRelease released;
  if (belongs_aside(handle, slow))
    call_aside(handle, call);
  else
    call();
}

void on_calling_thread(Body body) {
  const auto apart = [&] { apart_from_exceptions(body); };
  if (self == nullptr) return with_gil(apart);
  main_thread& main = the_main_thread.get();
  ask(main.box, self->box, [&main, apart, asking = self] {
    with_gil([&] {
      const during one(main.asking, asking);
      apart();
    });
  });
}

bool interrupted_by_callback() {
  main_thread* const here = the_main_thread.existing();
  if (here == nullptr || !detail::this_thread().is_main || PyErr_ExceptionMatches(PyExc_Exception) != 0)
    return false;
  pending* const call = here->current();
  if (call != nullptr) call->interrupt();
  return call != nullptr;
}

}  // namespace guestkit::python
