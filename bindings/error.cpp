#include "error.hpp"

#include <array>
#include <guestkit/launch_error.hpp>
#include <new>
#include <stdexcept>

#include "convert.hpp"

namespace guestkit::python {

namespace {

enum Type : Py_ssize_t { plain, closed, launch, crashed, types };

// Borrowed by nobody else and never freed: the classes live as long as the interpreter.
std::array<PyObject*, types> classes{PyExc_RuntimeError, PyExc_RuntimeError, PyExc_RuntimeError,
                                     PyExc_RuntimeError};

PyObject* string(const std::string& bytes) {
  return text(bytes.data(), bytes.size());
}

/// Sets the exception that the class makes of these arguments.
void raise(Type type, const Ref& arguments) {
  const Ref exception(check(PyObject_CallObject(classes.at(type), arguments.get())));
  PyErr_SetObject(classes.at(type), exception.get());
}

void raise(Type type, const Error& error) noexcept try {
  raise(
      type,
      Ref(check(Py_BuildValue("(NNi)", string(error.op()), string(error.message()), error.error_number()))));
} catch (const PythonError&) {  // no memory for the exception: that is what is set now
}

void raise(const LaunchError& error) noexcept try {
  const auto& lines = error.console();
  Ref console(check(PyTuple_New(static_cast<Py_ssize_t>(lines.size()))));
  for (std::size_t i = 0; i < lines.size(); ++i)
    PyTuple_SET_ITEM(console.get(), static_cast<Py_ssize_t>(i), string(lines[i]));
  raise(launch,
        Ref(check(Py_BuildValue("(NNisNO)", string(error.op()), string(error.message()), error.error_number(),
                                to_string(error.cause()), string(error.hint()), console.get()))));
} catch (const PythonError&) {
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

void translate(const Error& error) noexcept {
  if (const auto* failed_launch = dynamic_cast<const LaunchError*>(&error))
    raise(*failed_launch);
  else if (dynamic_cast<const HandleClosed*>(&error) != nullptr)
    raise(closed, error);
  else if (dynamic_cast<const ApplianceCrashed*>(&error) != nullptr)
    raise(crashed, error);
  else
    raise(plain, error);
}

void translate() noexcept {
  try {
    throw;
  } catch (const PythonError&) {  // set already
  } catch (const Error& error) {
    translate(error);
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
