#include "error.hpp"

#include <array>
#include <guestkit/error.hpp>
#include <new>
#include <stdexcept>

#include "convert.hpp"

namespace guestkit::python {

namespace {

enum Type : Py_ssize_t { plain, closed, launch, crashed, types };

// Borrowed by nobody else and never freed: the classes live as long as the interpreter.
std::array<PyObject*, types> classes{PyExc_RuntimeError, PyExc_RuntimeError, PyExc_RuntimeError,
                                     PyExc_RuntimeError};

void raise(Type type, const Error& error) noexcept try {
  const Ref op(text(error.op().data(), error.op().size()));
  const Ref message(text(error.message().data(), error.message().size()));
  const Ref number(check(PyLong_FromLong(error.error_number())));
  PyObject* const type_object = classes.at(type);
  const Ref exception(
      check(PyObject_CallFunctionObjArgs(type_object, op.get(), message.get(), number.get(), nullptr)));
  PyErr_SetObject(type_object, exception.get());
} catch (const PythonError&) {  // no memory for the exception: that is what is set now
}

}  // namespace

void use_error_types(PyObject* given) {
  if (!PyTuple_Check(given) || PyTuple_GET_SIZE(given) != types) {
    PyErr_SetString(PyExc_TypeError, "use_error_types() takes a tuple of 4 exception classes");
    throw PythonError{};
  }
  for (Py_ssize_t i = 0; i < types; ++i) {
    PyObject* const type = PyTuple_GET_ITEM(given, i);
    Py_INCREF(type);
    classes.at(static_cast<std::size_t>(i)) = type;
  }
}

void translate() noexcept {
  try {
    throw;
  } catch (const PythonError&) {  // set already
  } catch (const HandleClosed& e) {
    raise(closed, e);
  } catch (const LaunchError& e) {
    raise(launch, e);
  } catch (const ApplianceCrashed& e) {
    raise(crashed, e);
  } catch (const Error& e) {
    raise(plain, e);
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::invalid_argument& e) {
    PyErr_SetString(PyExc_ValueError, e.what());
  } catch (const std::exception& e) {
    PyErr_SetString(PyExc_RuntimeError, e.what());
  } catch (...) {
    PyErr_SetString(PyExc_SystemError, "guestkit: an unknown C++ exception");
  }
}

}  // namespace guestkit::python
