#include "method.hpp"

#include <algorithm>

namespace guestkit::python {

void define(PyTypeObject* type, Row& row, const Description& description) {
  // It must live as long as the type that points to it: until the process exits.
  auto* method = new Method;
  method->name = description.action.name;
  method->deprecated = description.deprecated;
  method->may_wait = description.action.waits_for_programs;

  std::string text = method->name + "($self";
  for (const char* name : description.arguments) {
    method->names.push_back(check(PyUnicode_InternFromString(name)));
    text += std::string(", ") + name;
  }
  method->required = method->names.size();
  std::vector<const char*> options;
  row.add_option_names(options);
  for (const char* name : options) {
    method->names.push_back(check(PyUnicode_InternFromString(name)));
    text += std::string(", ") + name + "=None";
  }
  method->positional = method->names.size();
  if (row.bytes) {
    method->names.push_back(check(PyUnicode_InternFromString("memoryview")));
    text += ", *, memoryview=False";
  }
  method->doc = text + ")\n--\n\n" + description.doc;

  auto* definition = new PyMethodDef{method->name.c_str(),
                                     reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(row.entry)),
                                     METH_FASTCALL | METH_KEYWORDS, method->doc.c_str()};
  const Ref descriptor(check(PyDescr_NewMethod(type, definition)));
  if (PyObject_SetAttrString(reinterpret_cast<PyObject*>(type), definition->ml_name, descriptor.get()) != 0)
    throw PythonError{};
  row.method = method;
}

namespace {

std::size_t find(const Method& method, PyObject* name) {
  const auto& names = method.names;
  for (std::size_t i = 0; i < names.size(); ++i)
    if (names[i] == name) return i;  // nearly always true: both are interned
  for (std::size_t i = 0; i < names.size(); ++i)
    if (PyUnicode_Compare(names[i], name) == 0) return i;
  PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", method.name.c_str(), name);
  throw PythonError{};
}

}  // namespace

void fill(const Method& method, PyObject** slots, const Given& given) {
  const auto& [self, arguments, positional, keywords] = given;
  if (positional > method.positional) {
    PyErr_Format(PyExc_TypeError, "%s() takes at most %zu %sarguments (%zu given)", method.name.c_str(),
                 method.positional, method.names.size() > method.positional ? "positional " : "", positional);
    throw PythonError{};
  }
  std::copy(arguments, arguments + positional, slots);
  const Py_ssize_t named = keywords != nullptr ? PyTuple_GET_SIZE(keywords) : 0;
  for (Py_ssize_t i = 0; i < named; ++i) {
    PyObject* name = PyTuple_GET_ITEM(keywords, i);
    PyObject*& slot = slots[find(method, name)];
    if (slot != nullptr) {
      PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%U'", method.name.c_str(), name);
      throw PythonError{};
    }
    slot = arguments[static_cast<Py_ssize_t>(positional) + i];
  }
  for (std::size_t i = 0; i < method.required; ++i)
    if (slots[i] == nullptr) {
      PyErr_Format(PyExc_TypeError, "%s() missing required argument '%U'", method.name.c_str(),
                   method.names[i]);
      throw PythonError{};
    }
  if (method.deprecated != nullptr && PyErr_WarnFormat(PyExc_DeprecationWarning, 1, "%s() is deprecated: %s",
                                                       method.name.c_str(), method.deprecated) != 0)
    throw PythonError{};
}

PyObject* run(const Row& row, const Given& given) noexcept {
  return guarded([&] { return row.perform(row, given); });
}

}  // namespace guestkit::python
