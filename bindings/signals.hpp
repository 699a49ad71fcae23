// Python's signal handlers while a call runs: Ctrl-C ends it.
//
// Python runs signal handlers only on the main thread, which is inside libguestfs while a call runs. So if a
// call of the main thread may take long, another thread, its helper, makes it, and the main thread waits for
// the call's end or for a signal. Whatever has to happen on the calling thread, such as an event callback,
// the helper passes back to the main one: only one of the two runs at a time, as if there were one. A signal
// handler that makes a call itself gets a helper of its own for it.
#pragma once

#include <optional>
#include <type_traits>
#include <utility>

#include "gil.hpp"
#include "handle.hpp"

namespace guestkit::python {

/// Something to run now: a reference to anything callable, like the coming std::function_ref. std::function
/// would copy the callable for each call of the module from Python.
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

/// Runs a call without the GIL; if it may take long and this is the main thread, on a helper. If a signal
/// handler raises meanwhile, the call is cancelled, and throws PythonError once it has ended; if a handler
/// raises again, the handle's hypervisor is killed at once. A call that waits for its turn never runs; the
/// other threads' calls go on. Of calls within calls, such as a callback's, it is the innermost that ends so;
/// what it raises then ends the next one, unless somebody catches it.
/// @param slow  whether the call may take long without an appliance
void without_gil(Handle& handle, bool slow, Body call);

/// Runs a callback, which needs the GIL, on the thread that made the running call; does nothing if the
/// interpreter is gone. An exception that is already set stays set.
void on_calling_thread(Body body);

/// For a callback of a call on a helper that has raised something that ends the call, such as
/// KeyboardInterrupt: takes over the current exception and returns true; otherwise returns false.
bool interrupted_by_callback();

/// Makes the call without the GIL and returns its result.
template <class F>
auto interruptible(Handle& handle, bool slow, const F& call) {
  std::optional<decltype(call())> result;
  without_gil(handle, slow, [&] { result.emplace(call()); });
  return std::move(*result);
}

}  // namespace guestkit::python
