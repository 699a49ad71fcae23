// References to Python objects, and how a Python error passes through C++.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <utility>

namespace guestkit::python {

/// A Python exception is set; unwind to the entry point.
struct PythonError {};

inline PyObject* check(PyObject* object) {
  if (object == nullptr) throw PythonError{};
  return object;
}

/// Owns one reference. Needs the GIL.
class Ref {
 public:
  Ref() = default;
  explicit Ref(PyObject* object) noexcept : object_(object) {}
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Ref& operator=(Ref&& other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() { Py_XDECREF(object_); }

  PyObject* get() const noexcept { return object_; }
  PyObject* release() noexcept { return std::exchange(object_, nullptr); }

 private:
  PyObject* object_ = nullptr;
};

}  // namespace guestkit::python
