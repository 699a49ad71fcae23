#include "convert.hpp"

#include <climits>
#include <cstring>

namespace guestkit::python {

namespace {

[[noreturn]] void wrong_type(const Place& place, const char* wanted, PyObject* object) {
  PyErr_Format(PyExc_TypeError, "%s() argument '%U' must be %s, not %.200s", place.method, place.argument,
               wanted, Py_TYPE(object)->tp_name);
  throw PythonError{};
}

constexpr auto text_types = "str, bytes or os.PathLike";

std::int64_t integer(PyObject* object, const Place& place, std::int64_t least, std::int64_t most) {
  if (!PyIndex_Check(object)) wrong_type(place, "int", object);
  const Ref number(check(PyNumber_Index(object)));
  int overflow = 0;
  const long long value = PyLong_AsLongLongAndOverflow(number.get(), &overflow);
  if (overflow != 0 || value < least || value > most) {
    PyErr_Format(PyExc_OverflowError, "%s() argument '%U' must be between %lld and %lld", place.method,
                 place.argument, static_cast<long long>(least), static_cast<long long>(most));
    throw PythonError{};
  }
  return value;
}

}  // namespace

Text::Text(PyObject* object, const Place& place) {
  Py_ssize_t size = 0;
  if (!PyUnicode_Check(object) && !PyBytes_Check(object)) {
    if (!PyObject_HasAttrString(reinterpret_cast<PyObject*>(Py_TYPE(object)), "__fspath__"))
      wrong_type(place, text_types, object);
    owner_ = Ref(check(PyOS_FSPath(object)));
    object = owner_.get();
  }
  if (PyUnicode_Check(object)) {
    text_ = PyUnicode_AsUTF8AndSize(object, &size);
    if (text_ == nullptr) {
      PyErr_Clear();
      owner_ = Ref(check(PyUnicode_AsEncodedString(object, "utf-8", "surrogateescape")));
      object = owner_.get();
    }
  }
  if (PyBytes_Check(object)) {
    text_ = PyBytes_AS_STRING(object);
    size = PyBytes_GET_SIZE(object);
  }
  if (std::memchr(text_, '\0', static_cast<std::size_t>(size)) != nullptr) {
    PyErr_Format(PyExc_ValueError, "%s() argument '%U' holds a NUL character", place.method, place.argument);
    throw PythonError{};
  }
}

std::string text_of(PyObject* object, const char* method, const char* argument) {
  const Ref name(check(PyUnicode_InternFromString(argument)));
  return Text(object, {method, name.get()}).c_str();
}

std::optional<std::string> optional_text_of(PyObject* object, const char* method, const char* argument) {
  if (object == Py_None) return std::nullopt;
  return text_of(object, method, argument);
}

TextList::TextList(PyObject* object, const Place& place) {
  const bool iterable = Py_TYPE(object)->tp_iter != nullptr || PySequence_Check(object) != 0;
  if (PyUnicode_Check(object) || PyBytes_Check(object) || !iterable)
    wrong_type(place, "a list of str, bytes or os.PathLike", object);
  // Copied into a tuple: the caller's list may change while the GIL is released.
  items_ = Ref(check(PySequence_Tuple(object)));
  const Py_ssize_t size = PyTuple_GET_SIZE(items_.get());
  texts_.reserve(static_cast<std::size_t>(size));
  for (Py_ssize_t i = 0; i < size; ++i) texts_.emplace_back(PyTuple_GET_ITEM(items_.get(), i), place);
}

TextList::operator cstr_list() const {
  std::vector<cstr> views;
  views.reserve(texts_.size());
  for (const Text& text : texts_) views.emplace_back(text);
  return cstr_list(views);
}

string_list TextList::strings() const {
  string_list strings;
  strings.reserve(texts_.size());
  for (const Text& text : texts_) strings.emplace_back(text.c_str());
  return strings;
}

Bytes::Bytes(PyObject* object, const Place& place) {
  if (PyObject_GetBuffer(object, &view_, PyBUF_SIMPLE) == 0) return;
  if (PyErr_ExceptionMatches(PyExc_TypeError) == 0 && PyErr_ExceptionMatches(PyExc_BufferError) == 0)
    throw PythonError{};
  PyErr_Clear();
  wrong_type(place, "a contiguous bytes-like object", object);
}

template <>
Value<bool>::Value(PyObject* object, const Place& place) {
  if (!PyLong_Check(object)) wrong_type(place, "bool", object);
  const int truth = PyObject_IsTrue(object);
  if (truth < 0) throw PythonError{};
  value = truth != 0;
}
template <>
Value<int>::Value(PyObject* object, const Place& place)
    : value(static_cast<int>(integer(object, place, INT_MIN, INT_MAX))) {}
template <>
Value<std::int64_t>::Value(PyObject* object, const Place& place)
    : value(integer(object, place, INT64_MIN, INT64_MAX)) {}
template <>
Value<void*>::Value(PyObject* object, const Place& place) {
  // libvirt's Python objects keep their C pointer in a capsule, in the attribute _o.
  const Ref inner(PyObject_GetAttrString(object, "_o"));
  PyErr_Clear();
  PyObject* capsule = inner.get() != nullptr ? inner.get() : object;
  constexpr auto name = "virDomainPtr";
  if (PyCapsule_IsValid(capsule, name) == 0) wrong_type(place, "a libvirt.virDomain", object);
  value = PyCapsule_GetPointer(capsule, name);
}
template <>
Value<std::string>::Value(PyObject* object, const Place& place) : value(Text(object, place).c_str()) {}
template <>
Value<string_list>::Value(PyObject* object, const Place& place) : value(TextList(object, place).strings()) {}

PyObject* text(const char* bytes, std::size_t size) {
  return check(PyUnicode_DecodeUTF8(bytes, static_cast<Py_ssize_t>(size), "surrogateescape"));
}
PyObject* text_or_empty(const char* value) {
  return value != nullptr ? text(value, std::strlen(value)) : text("", 0);
}
PyObject* field(const char* value, std::size_t size) {
  return check(PyBytes_FromStringAndSize(value, static_cast<Py_ssize_t>(size)));
}
PyObject* field(char value) {
  return text(&value, 1);
}
PyObject* field(float value) {
  if (value < 0) Py_RETURN_NONE;
  return check(PyFloat_FromDouble(static_cast<double>(value)));
}
PyObject* field(std::int32_t value) {
  return check(PyLong_FromLong(value));
}
PyObject* field(std::uint32_t value) {
  return check(PyLong_FromUnsignedLong(value));
}
PyObject* field(std::int64_t value) {
  return check(PyLong_FromLongLong(value));
}
PyObject* field(std::uint64_t value) {
  return check(PyLong_FromUnsignedLongLong(value));
}

PyObject* to_python(const detail::c_result<void>&) {
  Py_RETURN_NONE;
}
PyObject* to_python(const detail::c_result<bool>& result) {
  return PyBool_FromLong(result.lift() ? 1 : 0);
}
PyObject* to_python(const detail::c_result<int>& result) {
  return check(PyLong_FromLong(result.lift()));
}
PyObject* to_python(const detail::c_result<std::int64_t>& result) {
  return check(PyLong_FromLongLong(result.lift()));
}
PyObject* to_python(const detail::c_result<std::string>& result) {
  return text_or_empty(result.c_str());
}
PyObject* to_python(const detail::c_result<std::optional<std::string>>& result) {
  if (!result.get()) Py_RETURN_NONE;
  return text(result.get()->data(), result.get()->size());
}
PyObject* to_python(const detail::c_result<string_list>& result) {
  const auto texts = result.get();
  Ref list(check(PyList_New(static_cast<Py_ssize_t>(texts.size()))));
  for (std::size_t i = 0; i < texts.size(); ++i)
    PyList_SET_ITEM(list.get(), static_cast<Py_ssize_t>(i), field(texts[i]));
  return list.release();
}
PyObject* to_python(const detail::c_result<hashtable>& result) {
  const auto texts = result.get();
  Ref dict(check(PyDict_New()));
  for (std::size_t i = 0; i + 1 < texts.size(); i += 2) {
    const Ref key(field(texts[i]));
    const Ref value(field(texts[i + 1]));
    if (PyDict_SetItem(dict.get(), key.get(), value.get()) != 0) throw PythonError{};
  }
  return dict.release();
}
PyObject* to_python(const detail::c_result<buffer>& result) {
  return field(result.get().data(), result.get().size());
}

}  // namespace guestkit::python
