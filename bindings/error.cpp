#include "error.hpp"

#include <array>
#include <cstddef>
#include <guestkit/launch_error.hpp>
#include <new>
#include <stdexcept>
#include <typeinfo>

#include "convert.hpp"

namespace guestkit::python {

namespace {

enum Type : std::size_t { plain, closed, launch, crashed, killed, timeout, types };

// Owned here and never freed: the classes live as long as the interpreter.
std::array<PyObject*, types> classes{PyExc_RuntimeError, PyExc_RuntimeError, PyExc_RuntimeError,
                                     PyExc_RuntimeError, PyExc_RuntimeError, PyExc_RuntimeError};

PyObject* string(const std::string& bytes) {
  return text(bytes.data(), bytes.size());
}

/// Sets an exception of this class with these arguments.
void raise(Type type, const Ref& arguments) {
  const Ref exception(check(PyObject_CallObject(classes.at(type), arguments.get())));
  PyErr_SetObject(classes.at(type), exception.get());
}

PyObject* strings(const std::vector<std::string>& lines) {
  Ref tuple(check(PyTuple_New(static_cast<Py_ssize_t>(lines.size()))));
  for (std::size_t i = 0; i < lines.size(); ++i)
    PyTuple_SET_ITEM(tuple.get(), static_cast<Py_ssize_t>(i), string(lines[i]));
  return tuple.release();
}

/// The arguments common to all classes, followed by the class' own.
template <class... More>
Ref arguments(const Error& error, const char* format, More... more) {
  return Ref(check(
      Py_BuildValue(format, string(error.op()), string(error.message()), error.error_number(), more...)));
}

/// Those of Error itself: a cause and a hint only if there are any.
Ref diagnosed(const Error& error) {
  if (error.cause() == Cause::unknown && error.hint().empty()) return arguments(error, "(NNi)");
  return arguments(error, "(NNisN)", to_string(error.cause()), string(error.hint()));
}

}  // namespace

void use_error_types(PyObject* given) {
  if (!PyTuple_Check(given) || PyTuple_GET_SIZE(given) != std::ssize(classes)) {
    PyErr_SetString(PyExc_TypeError, "use_error_types() takes a tuple of 6 exception classes");
    throw PythonError{};
  }
  Py_ssize_t number = 0;
  for (PyObject*& type : classes) {
    type = PyTuple_GET_ITEM(given, number++);
    Py_INCREF(type);
  }
}

void translate(const Error& error) noexcept try {
  if (typeid(error) == typeid(Error))  // by far the most frequent: it spares the search for the class
    raise(plain, diagnosed(error));
  else if (const auto* failed = dynamic_cast<const LaunchError*>(&error))
    raise(launch, arguments(error, "(NNisNN)", to_string(error.cause()), string(error.hint()),
                            strings(failed->console())));
  else if (const auto* late = dynamic_cast<const CallTimeout*>(&error))
    raise(timeout, arguments(error, "(NNidNNN)", late->limit().count(), string(late->clock()),
                             strings(late->console()), PyBool_FromLong(late->handle_usable())));
  else if (const auto* dead = dynamic_cast<const ApplianceCrashed*>(&error))
    raise(dynamic_cast<const ApplianceKilled*>(dead) != nullptr ? killed : crashed,
          arguments(error, "(NNiN)", strings(dead->console())));
  else
    raise(dynamic_cast<const HandleClosed*>(&error) != nullptr ? closed : plain, diagnosed(error));
} catch (const PythonError&) {  // no memory for the exception: the MemoryError is set instead
}

void translate() noexcept {
  try {
    throw;
  } catch (const PythonError&) {  // already set
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
