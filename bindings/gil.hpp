// The GIL: given up around every libguestfs call, taken again for callbacks.
#pragma once

#include <Python.h>
#include <cxxabi.h>
#include <unistd.h>

namespace guestkit::python {

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
      // The interpreter is gone: before 3.14 CPython ends the thread that asks for the GIL by
      // pthread_exit(), whose unwinding through this frame would abort the process. Park the thread.
      for (;;) ::pause();
    }
  }

 private:
  PyThreadState* state_;
};

/// The GIL is held while this lives, on whatever thread. Only while the interpreter lives: ask alive() first.
class GilAcquire {
 public:
  GilAcquire() : state_(PyGILState_Ensure()) {}
  GilAcquire(const GilAcquire&) = delete;
  GilAcquire& operator=(const GilAcquire&) = delete;
  ~GilAcquire() { PyGILState_Release(state_); }

  static bool alive() noexcept { return Py_IsInitialized() != 0; }

 private:
  PyGILState_STATE state_;
};

}  // namespace guestkit::python
