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

/// The main thread and the second thread, which makes its calls.
struct couple {
  mailbox main, second;
  pthread_t second_id{};
  int depth = 0;               // of calls that the main thread has made and waits for
  Handle* handle = nullptr;    // of the outermost of them
  PyObject* raised = nullptr;  // what a signal handler or a callback raised, to be raised by that call

  couple() {
    second_id = detail::start_thread("", [this] {
      constexpr bool never = false;
      second.run(never);
    });
  }
};

/// The second thread never exits.
constinit detail::of_process<couple> both;

bool is_second_thread() noexcept {
  const couple* const threads = both.existing();
  return threads != nullptr && ::pthread_equal(::pthread_self(), threads->second_id) != 0;
}

/// Has the other thread do a job and waits for it, meanwhile doing what the other asks for.
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

/// Saves the current exception and ends the call: gently at first.
void interrupt(couple& threads) {
  PyObject *type = nullptr, *value = nullptr, *traceback = nullptr;
  PyErr_Fetch(&type, &value, &traceback);
  PyErr_NormalizeException(&type, &value, &traceback);
  if (traceback != nullptr) PyException_SetTraceback(value, traceback);
  Py_XDECREF(type);
  Py_XDECREF(traceback);
  const bool again = threads.raised != nullptr;
  Py_XDECREF(std::exchange(threads.raised, value));
  if (again)
    threads.handle->terminate();
  else
    threads.handle->cancel();
}

/// Whether a call should run on the second thread: on the main thread, if it may take long.
bool belongs_aside(const Handle& handle, bool slow) noexcept {
  return (slow || handle.has_appliance() || !handle.is_idle()) && detail::this_thread().is_main &&
         !handle.is_mine();
}

/// Has the second thread make the call while this one, the main thread, waits for it and for signals. If no
/// thread can be started, signals have to wait.
void call_aside(Handle& handle, Body call) {
  couple* made = both.existing();
  try {
    if (made == nullptr) made = &both.get();
  } catch (const Error&) {
    return call();
  }
  couple& threads = *made;
  const auto look_for_signals = [&] {
    with_gil([&] {
      if (PyErr_CheckSignals() != 0) interrupt(threads);
    });
  };
  Handle* const outer = std::exchange(threads.handle, &handle);
  ++threads.depth;
  std::exception_ptr error;
  try {
    ask(threads.second, threads.main, call, Job(look_for_signals));
  } catch (...) {
    error = std::current_exception();
  }
  --threads.depth;
  threads.handle = outer;
  if (threads.depth == 0 && threads.raised != nullptr) {
    with_gil([&] {
      PyObject* const value = std::exchange(threads.raised, nullptr);
      PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(value)), value);
      Py_DECREF(value);
    });
    throw PythonError{};
  }
  if (error) std::rethrow_exception(error);
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
  if (!is_second_thread()) return with_gil(body);
  couple& threads = both.get();
  ask(threads.main, threads.second, [&] { with_gil(body); });
}

bool interrupted_by_callback() {
  couple* const threads = both.existing();
  if (threads == nullptr || threads->depth == 0 || !detail::this_thread().is_main ||
      PyErr_ExceptionMatches(PyExc_Exception) != 0)
    return false;
  interrupt(*threads);
  return true;
}

}  // namespace guestkit::python
