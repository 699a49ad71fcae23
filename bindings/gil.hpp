// The GIL: given up around every libguestfs call, taken again for callbacks.
#pragma once

#include <Python.h>
#include <cxxabi.h>
#include <unistd.h>

namespace guestkit::python {

/// Before 3.14 CPython ends a thread that asks for the GIL of an interpreter that is gone by pthread_exit(),
/// whose unwinding through our frames or libguestfs' would abort the process. Such a thread stays here.
[[noreturn]] inline void park() {
  for (;;) ::pause();
}

/// The GIL is released while this lives.
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

/// Runs code that needs the GIL on a thread that may not have it; nothing, when the interpreter is gone.
template <class F>
void with_gil(F&& body) {
  if (Py_IsInitialized() == 0) return;
  try {
    const auto state = PyGILState_Ensure();
    body();
    PyGILState_Release(state);
  } catch (const abi::__forced_unwind&) {  // also from inside the body, wherever Python takes the GIL again
    park();
  }
}

}  // namespace guestkit::python
