// Python's signal handlers while a call runs: Ctrl-C ends it.
//
// Python runs signal handlers on the main thread alone, which sits in libguestfs while a call runs. So a call
// of the main thread that may take long is made by a second thread, and the main thread waits for it, or for
// a signal. Whatever has to happen on the thread that called, such as an event callback, the second thread
// has the main one do: only one of the two does anything at a time, as if there were one.
#pragma once

#include <exception>
#include <functional>
#include <optional>
#include <utility>

#include "gil.hpp"
#include "handle.hpp"

namespace guestkit::python {

/// Has the second thread run this while the main one, which calls without the GIL, waits for it. When a
/// signal handler raises meanwhile, the call is cancelled, and throws PythonError when it has ended; when one
/// raises again, the handle's hypervisor is killed at once.
void call_aside(Handle& handle, const std::function<void()>& call);

/// Whether a call of this thread is to be made by call_aside(): on the main thread, if it may take long.
/// @param slow  whether the call may take long without an appliance
bool belongs_aside(const Handle& handle, bool slow) noexcept;

/// Runs what needs the GIL, on the thread that made the call which runs; nothing, when the interpreter is
/// gone.
void on_calling_thread(const std::function<void()>& body);

/// The second thread's caller has something to raise that ends the call, such as a KeyboardInterrupt in an
/// event callback. Takes over the exception that is set and returns true, or returns false.
bool interrupted_by_callback();

/// Makes the call without the GIL.
template <class F>
auto interruptible(Handle& handle, bool slow, F&& call) {
  const GilRelease released;
  if (!belongs_aside(handle, slow)) return call();
  std::optional<decltype(call())> result;
  call_aside(handle, [&] { result.emplace(call()); });
  return std::move(*result);
}

}  // namespace guestkit::python
