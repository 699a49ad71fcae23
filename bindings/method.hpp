// One adapter for every action: a C++ method becomes a method descriptor on the Python class.
//
// A descriptor costs less than a Boost.Python function (a third of a microsecond a call, half the compile
// time for 600 of them), gives inspect.signature and takes any number of keyword arguments. Methods of the
// same signature share invoke(); each has only its entry point of its own.
#pragma once

#include <array>
#include <cstddef>
#include <initializer_list>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "convert.hpp"
#include "error.hpp"
#include "gil.hpp"
#include "handle.hpp"
#include "object.hpp"
#include "signals.hpp"

namespace guestkit::python {

/// What the table says of a method.
struct Description {
  const char* name;
  std::initializer_list<const char*> arguments;
  const char* deprecated;  // what to do instead, or null
  const char* doc;
};

/// A method as it is called: names interned, required arguments first, then options in libguestfs' order,
/// then what can only be named.
struct Method {
  std::string name;
  std::vector<PyObject*> names;
  std::size_t required = 0;
  std::size_t positional = 0;  // how many may be given by position
  const char* deprecated = nullptr;
  bool may_wait = false;  // long, without an appliance: it starts one, or has qemu-img look at a disk
  std::string doc;        // with the text signature that inspect reads
};

/// @param bytes  whether the result is bytes, which can be had as a memoryview too
Method* make_method(const Description& description, const std::vector<const char*>& options, bool bytes);

using Entry = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t, PyObject*);
void install(PyTypeObject* type, Method* method, Entry entry);

/// Sorts what a caller gave into slots, by position or name; absent options stay null.
void fill(const Method& method, PyObject** slots, PyObject* const* arguments, std::size_t positional,
          PyObject* keywords);

/// The C++ object behind a Python one.
Handle& self_of(PyObject* object);

template <class A>
using bare = std::remove_cvref_t<A>;

/// How many slots a parameter takes: an option struct one for each option.
template <class A>
consteval std::size_t slots_of() {
  std::size_t count = 1;
  if constexpr (detail::Options<A>) {
    count = 0;
    A::each([&](const char*, auto, auto, auto) { ++count; });
  }
  return count;
}

template <class A>
void add_option_names(std::vector<const char*>& names) {
  if constexpr (detail::Options<A>)
    A::each([&](const char* name, auto, auto, auto) { names.push_back(name); });
}

/// The argument at slot I, converted; an option struct takes all slots from there on.
template <class A>
auto take(const Method& method, PyObject** slots, std::size_t i) {
  if constexpr (detail::Options<A>) {
    A options;
    A::each([&](const char*, auto member, auto, auto) {
      PyObject* object = slots[i];
      if (object != nullptr && object != Py_None) {
        using V = typename std::remove_reference_t<decltype(options.*member)>::value_type;
        options.*member = Value<V>(object, {method.name.c_str(), method.names[i]}).value;
      }
      ++i;
    });
    return options;
  } else {
    return typename holder<A>::type(slots[i], {method.name.c_str(), method.names[i]});
  }
}

template <class R>
inline constexpr bool is_bytes = std::is_same_v<R, c_result<buffer>>;

template <class R, class Base, class... A, std::size_t... I>
PyObject* convert_and_call(Handle& handle, R (Base::*function)(A...), const Method& method, PyObject** slots,
                           std::index_sequence<I...>) {
  // Braces: evaluated from left to right, so that the first wrong argument is the one reported.
  const std::tuple<decltype(take<bare<A>>(method, slots, I))...> held{take<bare<A>>(method, slots, I)...};
  bool as_view = false;
  if constexpr (is_bytes<R>)
    if (PyObject* given = slots[method.positional])
      as_view = Value<bool>(given, {method.name.c_str(), method.names[method.positional]});
  auto result =
      interruptible(handle, method.may_wait, [&] { return (handle.*function)(std::get<I>(held)...); });
  if constexpr (is_bytes<R>)
    if (as_view) return memoryview(std::move(result).lift());
  return to_python(result);
}

template <class R, class Base, class... A>
PyObject* invoke(R (Base::*function)(A...), const Method& method, PyObject* self, PyObject* const* arguments,
                 Py_ssize_t positional, PyObject* keywords) noexcept {
  return guarded([&] {
    std::array<PyObject*, (slots_of<bare<A>>() + ... + 1)> slots{};  // one more: for memoryview
    fill(method, slots.data(), arguments, static_cast<std::size_t>(positional), keywords);
    return convert_and_call(self_of(self), function, method, slots.data(), std::index_sequence_for<A...>{});
  });
}

template <auto function>
inline const Method* method_of = nullptr;

template <auto function>
PyObject* entry(PyObject* self, PyObject* const* arguments, Py_ssize_t positional, PyObject* keywords) {
  return invoke(function, *method_of<function>, self, arguments, positional, keywords);
}

template <class R, class Base, class... A>
std::vector<const char*> option_names(R (Base::*)(A...)) {
  std::vector<const char*> names;
  (add_option_names<bare<A>>(names), ...);
  return names;
}

template <class R, class Base, class... A>
consteval bool returns_bytes(R (Base::*)(A...)) {
  return is_bytes<R>;
}

/// Makes the C++ method a method of the Python class.
template <auto function>
void def(PyTypeObject* type, const Description& description) {
  Method* method = make_method(description, option_names(function), returns_bytes(function));
  method_of<function> = method;
  install(type, method, &entry<function>);
}

// The generated tables.
void add_methods_1(PyTypeObject* type);
void add_methods_2(PyTypeObject* type);
void add_methods_3(PyTypeObject* type);
void add_methods_4(PyTypeObject* type);

}  // namespace guestkit::python
