// C++ exceptions to Python's.
#pragma once

#include <exception>
#include <utility>

#include "gil.hpp"
#include "object.hpp"

namespace guestkit::python {

/// Sets the Python exception for the C++ one that is being handled. Needs the GIL.
void translate() noexcept;

/// Has the package's classes raised: guestkit.errors gives them when it is imported.
/// @param types  a tuple: Error, HandleClosed, LaunchError, ApplianceCrashed
void use_error_types(PyObject* types);

/// Runs the body of an entry point from Python; an exception becomes a Python one and null.
template <class F>
PyObject* guarded(F&& body) noexcept {
  try {
    return std::forward<F>(body)();
  } catch (const abi::__forced_unwind&) {  // the interpreter ended while the body ran Python code
    park();
  } catch (...) {
    translate();
    return nullptr;
  }
}

}  // namespace guestkit::python
