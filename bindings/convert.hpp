// Python values to C++ arguments, C results to Python values: one rule for each kind.
#pragma once

#include <cstdint>
#include <guestkit/detail/call/convert.hpp>
#include <optional>
#include <string>
#include <vector>

#include "object.hpp"

namespace guestkit::python {

/// Which argument is being converted, for error messages.
struct Place {
  const char* method;
  PyObject* argument;  // its name
};

// ---- Python -> C++. Each holder keeps the viewed object alive, even while the GIL is released.

/// str, bytes or os.PathLike; bytes that are not UTF-8 pass through by surrogateescape.
class Text {
 public:
  Text(PyObject* object, const Place& place);
  operator cstr() const { return text_; }
  const char* c_str() const { return text_; }

 private:
  Ref owner_;
  const char* text_;
};

/// The same, or None.
class OptionalText {
 public:
  OptionalText(PyObject* object, const Place& place) {
    if (object != Py_None) text_.emplace(object, place);
  }
  operator std::optional<cstr>() const { return text_ ? std::optional<cstr>(*text_) : std::nullopt; }

 private:
  std::optional<Text> text_;
};

/// A text that outlives its Python object, for methods that are not actions. Errors name the method's
/// argument.
std::string text_of(PyObject* object, const char* method, const char* argument);
/// The same; std::nullopt for None.
std::optional<std::string> optional_text_of(PyObject* object, const char* method, const char* argument);

/// Any iterable of texts, but not a single text.
class TextList {
 public:
  TextList(PyObject* object, const Place& place);
  operator cstr_list() const;
  string_list strings() const;

 private:
  Ref items_;
  std::vector<Text> texts_;
};

/// Any contiguous buffer: bytes, bytearray, memoryview, mmap, array.
class Bytes {
 public:
  Bytes(PyObject* object, const Place& place);
  Bytes(Bytes&& other) noexcept : view_(std::exchange(other.view_, {})) {}
  ~Bytes() { PyBuffer_Release(&view_); }
  Bytes& operator=(Bytes&&) = delete;
  operator buffer_view() const {
    return std::string_view(static_cast<const char*>(view_.buf), static_cast<std::size_t>(view_.len));
  }

 private:
  Py_buffer view_{};
};

/// A plain value, independent of the Python object.
template <class V>
struct Value {
  Value(PyObject* object, const Place& place);
  operator V() const { return value; }
  V value;
};
template <>
Value<bool>::Value(PyObject*, const Place&);
template <>
Value<int>::Value(PyObject*, const Place&);
template <>
Value<std::int64_t>::Value(PyObject*, const Place&);
template <>
Value<void*>::Value(PyObject*, const Place&);
template <>
Value<std::string>::Value(PyObject*, const Place&);
template <>
Value<string_list>::Value(PyObject*, const Place&);

/// The holder that fills a C++ parameter.
template <class Parameter>
struct holder {
  using type = Value<Parameter>;
};
template <>
struct holder<cstr> {
  using type = Text;
};
template <>
struct holder<std::optional<cstr>> {
  using type = OptionalText;
};
template <>
struct holder<cstr_list> {
  using type = TextList;
};
template <>
struct holder<buffer_view> {
  using type = Bytes;
};

// ---- C -> Python. Each returns a new reference or throws PythonError.

PyObject* text(const char* bytes, std::size_t size);
PyObject* to_python(const detail::c_result<void>&);
PyObject* to_python(const detail::c_result<bool>&);
PyObject* to_python(const detail::c_result<int>&);
PyObject* to_python(const detail::c_result<std::int64_t>&);
PyObject* to_python(const detail::c_result<std::string>&);
PyObject* to_python(const detail::c_result<std::optional<std::string>>&);
PyObject* to_python(const detail::c_result<string_list>&);
PyObject* to_python(const detail::c_result<hashtable>&);
PyObject* to_python(const detail::c_result<buffer>&);
/// Without a copy; the view owns the bytes.
PyObject* memoryview(buffer bytes);

PyObject* text_or_empty(const char* value);
PyObject* field(const char* value, std::size_t size);  // a buffer: bytes
PyObject* field(char value);
PyObject* field(float value);  // a percentage, negative where it does not apply: None
PyObject* field(std::int32_t value);
PyObject* field(std::uint32_t value);
PyObject* field(std::int64_t value);
PyObject* field(std::uint64_t value);
/// Not for arrays, which would decay to this: a UUID fills its array and has no terminating NUL.
template <std::same_as<char*> Text>
PyObject* field(Text value) {
  return text_or_empty(value);
}
template <std::size_t N>
PyObject* field(const char (&value)[N]) {
  return text(value, ::strnlen(value, N));
}

template <detail::Struct S>
PyObject* struct_to_python(const typename S::c_struct& c) {
  static std::vector<PyObject*> keys;  // interned once, under the GIL, for the life of the process
  if (keys.empty())
    S::each([](const char* name, auto, auto...) { keys.push_back(check(PyUnicode_InternFromString(name))); });
  Ref dict(check(PyDict_New()));
  auto key = keys.begin();
  S::each([&](const char*, auto, auto... members) {
    const Ref value(field(c.*members...));
    if (PyDict_SetItem(dict.get(), *key++, value.get()) != 0) throw PythonError{};
  });
  return dict.release();
}
template <detail::Struct S>
PyObject* to_python(const detail::c_result<S>& result) {
  return struct_to_python<S>(result.get());
}
template <detail::Struct S>
PyObject* to_python(const detail::c_result<std::vector<S>>& result) {
  const auto structs = result.get();
  Ref list(check(PyList_New(static_cast<Py_ssize_t>(structs.size()))));
  for (std::size_t i = 0; i < structs.size(); ++i)
    PyList_SET_ITEM(list.get(), static_cast<Py_ssize_t>(i), struct_to_python<S>(structs[i]));
  return list.release();
}

}  // namespace guestkit::python
