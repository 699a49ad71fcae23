// Python's signal handlers while a call runs: Ctrl-C ends it.
//
// Python runs signal handlers on the main thread alone, which sits in libguestfs while a call runs. So a call
// of the main thread that may take long is made by a second thread, and the main thread waits for it, or for
// a signal. Whatever has to happen on the thread that called, such as an event callback, the second thread
// has the main one do: only one of the two does anything at a time, as if there were one.
#pragma once

#include <optional>
#include <type_traits>
#include <utility>

#include "gil.hpp"
#include "handle.hpp"

namespace guestkit::python {

/// Something to run now: a reference to anything that can be called, as std::function_ref will be.
/// std::function would copy it, once for each of the calls of Python that the module makes.
class Body {
 public:
  template <class F>
  requires(!std::is_same_v<F, Body>) Body(const F& function) : function_(&function), run_(&run<F>) {}
  void operator()() const { run_(function_); }

 private:
  template <class F>
  static void run(const void* function) {
    (*static_cast<const F*>(function))();
  }
  const void* function_;
  void (*run_)(const void*);
};

/// Runs a call without the GIL; aside, on the main thread, if it may take long. When a signal handler raises
/// meanwhile, the call is cancelled, and throws PythonError when it has ended; when one raises again, the
/// handle's hypervisor is killed at once.
/// @param slow  whether the call may take long without an appliance
void without_gil(Handle& handle, bool slow, Body call);

/// Runs what needs the GIL, on the thread that made the call which runs; nothing, when the interpreter is
/// gone.
void on_calling_thread(Body body);

/// The second thread's caller has something to raise that ends the call, such as a KeyboardInterrupt in an
/// event callback. Takes over the exception that is set and returns true, or returns false.
bool interrupted_by_callback();

/// Makes the call without the GIL and returns what it returned.
template <class F>
auto interruptible(Handle& handle, bool slow, const F& call) {
  std::optional<decltype(call())> result;
  without_gil(handle, slow, [&] { result.emplace(call()); });
  return std::move(*result);
}

}  // namespace guestkit::python
