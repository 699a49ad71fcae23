// C++ exceptions to Python's.
#pragma once

#include <exception>
#include <guestkit/error.hpp>
#include <utility>

#include "gil.hpp"
#include "object.hpp"

namespace guestkit::python {

/// Sets the Python exception for this C++ one. Needs the GIL.
void translate(const Error& error) noexcept;
/// The same for the one that is being handled, whatever it is.
void translate() noexcept;

/// Has the package's classes raised: guestkit.errors gives them when it is imported.
/// @param types  a tuple: Error, HandleClosed, LaunchError, ApplianceCrashed, ApplianceKilled, CallTimeout
void use_error_types(PyObject* types);

/// Runs the body of an entry point from Python; an exception becomes a Python one and null.
template <class F>
PyObject* guarded(F&& body) noexcept {
  try {
    return std::forward<F>(body)();
  } catch (const abi::__forced_unwind&) {  // the interpreter ended while the body ran Python code
    park();
  } catch (const Error& error) {  // without a second throw: that is what an error's cost is made of
    translate(error);
    return nullptr;
  } catch (...) {
    translate();
    return nullptr;
  }
}

}  // namespace guestkit::python
