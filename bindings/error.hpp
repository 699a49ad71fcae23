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
/// The same for the exception being handled, whatever it is.
void translate() noexcept;

/// Sets the classes to raise: guestkit.errors passes them when it is imported.
/// @param types  a tuple: Error, HandleClosed, LaunchError, ApplianceCrashed, ApplianceKilled, CallTimeout
void use_error_types(PyObject* types);

/// Runs the body of an entry point called from Python; turns an exception into a Python one and returns null.
template <class F>
PyObject* guarded(F&& body) noexcept {
  try {
    return std::forward<F>(body)();
  } catch (const abi::__forced_unwind&) {  // the interpreter exited while the body ran Python code
    park();
  } catch (const Error& error) {  // caught here without a rethrow, which would be most of an error's cost
    translate(error);
    return nullptr;
  } catch (...) {
    translate();
    return nullptr;
  }
}

}  // namespace guestkit::python
