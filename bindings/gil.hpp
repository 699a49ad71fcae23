// The GIL: released around every libguestfs call, acquired again for callbacks.
#pragma once

#include <Python.h>
#include <cxxabi.h>
#include <unistd.h>

namespace guestkit::python {

/// Before 3.14, CPython ends a thread that asks for the GIL of a dead interpreter with pthread_exit().
/// Unwinding through our frames or libguestfs' would abort the process, so such a thread is parked here for
/// ever.
[[noreturn]] inline void park() {
  for (;;) ::pause();
}

/// Releases the GIL for its lifetime.
class GilRelease {
 public:
  GilRelease() : state_(PyEval_SaveThread()) {}
  GilRelease(const GilRelease&) = delete;
  GilRelease& operator=(const GilRelease&) = delete;
  ~GilRelease() {
    try {
      PyEval_RestoreThread(state_);
    } catch (const abi::__forced_unwind&) {
      park();
    }
  }

 private:
  PyThreadState* state_;
};

/// Runs code that needs the GIL on a thread that may not hold it; does nothing if the interpreter is gone.
template <class F>
void with_gil(F&& body) {
  if (Py_IsInitialized() == 0) return;
  try {
    struct held {
      PyGILState_STATE state = PyGILState_Ensure();
      held() = default;
      held(const held&) = delete;
      held& operator=(const held&) = delete;
      ~held() { PyGILState_Release(state); }
    };
    const held gil;
    try {
      body();
    } catch (const abi::__forced_unwind&) {  // this thread does not have the GIL, so it must not release it
      park();
    }
  } catch (const abi::__forced_unwind&) {
    park();
  }
}

}  // namespace guestkit::python
