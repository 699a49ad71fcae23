// Plain C++ values to Python: a struct becomes a dict of the members that its each() names.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "convert.hpp"

namespace guestkit::python {

inline PyObject* value(const std::string& bytes) {
  return text(bytes.data(), bytes.size());
}
inline PyObject* value(bool truth) {
  return PyBool_FromLong(truth ? 1 : 0);
}
inline PyObject* value(int number) {
  return check(PyLong_FromLong(number));
}
inline PyObject* value(std::uint32_t number) {
  return check(PyLong_FromUnsignedLong(number));
}
inline PyObject* value(std::int64_t number) {
  return check(PyLong_FromLongLong(number));
}
inline PyObject* value(double number) {
  return check(PyFloat_FromDouble(number));
}
inline PyObject* value(std::uint64_t number) {
  return check(PyLong_FromUnsignedLongLong(number));
}
inline PyObject* value(const std::vector<std::byte>& bytes) {
  return check(PyBytes_FromStringAndSize(reinterpret_cast<const char*>(bytes.data()), std::ssize(bytes)));
}

template <class T>
PyObject* value(const T& structure);
template <class T>
PyObject* value(const std::optional<T>& there);
template <class A, class B>
PyObject* value(const std::pair<A, B>& both);
template <class T>
PyObject* value(const std::vector<T>& values);
template <class T>
PyObject* value(const std::map<std::string, T>& values);
inline PyObject* value(const std::vector<std::pair<std::string, std::string>>& pairs);

/// A dict under construction.
class Dict {
 public:
  template <class T>
  Dict& with(const char* key, const T& field) {
    const Ref object(value(field));
    if (PyDict_SetItemString(dict_.get(), key, object.get()) != 0) throw PythonError{};
    return *this;
  }
  template <class T>
  Dict& with(const std::string& key, const T& field) {
    const Ref name(value(key)), object(value(field));
    if (PyDict_SetItem(dict_.get(), name.get(), object.get()) != 0) throw PythonError{};
    return *this;
  }
  PyObject* release() { return dict_.release(); }

 private:
  Ref dict_{check(PyDict_New())};
};

template <class T>
PyObject* value(const T& structure) {
  if constexpr (std::is_enum_v<T>) {
    return value(std::string(to_string(structure)));
  } else {
    Dict dict;
    T::each([&](const char* name, auto member) { dict.with(name, structure.*member); });
    return dict.release();
  }
}

template <class A, class B>
PyObject* value(const std::pair<A, B>& both) {
  Ref first(value(both.first)), second(value(both.second));
  return check(PyTuple_Pack(2, first.get(), second.get()));
}

template <class T>
PyObject* value(const std::optional<T>& there) {
  if (!there) Py_RETURN_NONE;
  return value(*there);
}

template <class T>
PyObject* value(const std::vector<T>& values) {
  Ref tuple(check(PyTuple_New(static_cast<Py_ssize_t>(values.size()))));
  for (std::size_t i = 0; i < values.size(); ++i)
    PyTuple_SET_ITEM(tuple.get(), static_cast<Py_ssize_t>(i), value(values[i]));
  return tuple.release();
}

/// A dict in the order of the pairs.
inline PyObject* value(const std::vector<std::pair<std::string, std::string>>& pairs) {
  Dict dict;
  for (const auto& [key, field] : pairs) dict.with(key, field);
  return dict.release();
}

template <class T>
PyObject* value(const std::map<std::string, T>& values) {
  Dict dict;
  for (const auto& [key, field] : values) dict.with(key, field);
  return dict.release();
}

}  // namespace guestkit::python
