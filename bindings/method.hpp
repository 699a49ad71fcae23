// One adapter for every action: a C++ method becomes a method descriptor on the Python class.
//
// A descriptor costs less than a Boost.Python function (a third of a microsecond less per call, half the
// compile time for 600 of them), supports inspect.signature and takes any number of keyword arguments.
// Methods with the same signature share perform(); each has only its own entry point. Code that does not
// depend on the signature is not a template. Code that does is kept small, without std::tuple and
// std::optional, because there are 180 signatures.
#pragma once

#include <array>
#include <cstddef>
#include <initializer_list>
#include <optional>
#include <string>
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

/// What the table says about a method.
struct Description {
  detail::action action;
  std::initializer_list<const char*> arguments;
  const char* deprecated;  // what to do instead, or null
  const char* doc;
};

/// The arguments that a caller passed.
struct Given {
  PyObject* self;
  PyObject* const* arguments;  // positional ones, then the values of keywords
  std::size_t positional;
  PyObject* keywords;  // the keywords' names, or null
};

/// A method's calling convention: interned names, with required arguments first, then options in libguestfs'
/// order, then keyword-only arguments.
struct Method {
  std::string name;
  std::vector<PyObject*> names;
  std::size_t required = 0;
  std::size_t positional = 0;  // how many may be passed by position
  const char* deprecated = nullptr;
  bool may_wait = false;  // may take long even without an appliance, waiting for a program of the host
  std::string doc;        // including the text signature that inspect reads
};

/// The static data of a method.
struct Row {
  PyObject* (*entry)(PyObject*, PyObject* const*, Py_ssize_t, PyObject*);  // its own
  // What methods of the same C++ signature share:
  PyObject* (*perform)(const Row&, const Given&);
  void (*add_option_names)(std::vector<const char*>&);
  bool bytes;  // whether the result is bytes, also available as a memoryview

  const Method* method = nullptr;  // set by define()
};

/// Makes it a method of the Python class.
void define(PyTypeObject* type, Row& row, const Description& description);

/// Sorts the caller's arguments into slots, by position or name; slots of absent options stay null.
void fill(const Method& method, PyObject** slots, const Given& given);

/// Runs the method; turns an exception into a Python one and returns null.
PyObject* run(const Row& row, const Given& given) noexcept;

template <class A>
using bare = std::remove_cvref_t<A>;

/// How many slots a parameter takes: for an option struct, one per option.
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

/// Converts an option if it was passed.
template <class V>
void take_option(std::optional<V>& option, PyObject* object, const Place& place) {
  if (object != nullptr && object != Py_None) option = Value<V>(object, place).value;
}

/// The converted argument at slot I; an option struct takes all slots from there on.
template <class A>
auto take(const Method& method, PyObject** slots, std::size_t i) {
  if constexpr (detail::Options<A>) {
    A options;
    A::each([&](const char*, auto member, auto, auto) {
      take_option(options.*member, slots[i], {method.name.c_str(), method.names[i]});
      ++i;
    });
    return options;
  } else {
    return typename holder<A>::type(slots[i], {method.name.c_str(), method.names[i]});
  }
}

template <class R>
inline constexpr bool is_bytes = std::is_same_v<R, detail::outcome<buffer>>;

/// Uses braces so that arguments are converted from left to right and the first wrong one is reported.
template <class R>
struct Called {
  template <class Function, class... Held>
  Called(Handle& handle, const Method& method, Function function, const Held&... held)
      : result(interruptible(handle, method.may_wait, [&] { return (handle.*function)(held...); })) {}
  R result;
};

template <class R, class Base, class... A, std::size_t... I>
PyObject* convert_and_call(R (Base::*function)(A...), const Method& method, Handle& handle, PyObject** slots,
                           std::index_sequence<I...>) {
  bool as_view = false;
  if constexpr (is_bytes<R>)
    if (PyObject* given = slots[method.positional])
      as_view = Value<bool>(given, {method.name.c_str(), method.names[method.positional]});
  Called<R> called{handle, method, function, take<bare<A>>(method, slots, I)...};
  if (const Error* const error = called.result.error()) {
    translate(*error);
    return nullptr;
  }
  if constexpr (is_bytes<R>)
    if (as_view) return memoryview(std::move(called.result).get().lift());
  return to_python(*called.result);
}

template <class Function>
struct RowOf : Row {
  Function function;
};

template <class R, class Base, class... A>
PyObject* perform(const Row& row, const Given& given) {
  std::array<PyObject*, (slots_of<bare<A>>() + ... + 1)> slots{};  // one extra, for memoryview
  fill(*row.method, slots.data(), given);
  const auto function = static_cast<const RowOf<R (Base::*)(A...)>&>(row).function;
  return convert_and_call(function, *row.method, self_of(given.self), slots.data(),
                          std::index_sequence_for<A...>{});
}

template <auto function>
PyObject* entry(PyObject* self, PyObject* const* arguments, Py_ssize_t positional, PyObject* keywords);

template <class R, class Base, class... A>
constexpr RowOf<R (Base::*)(A...)> make_row(decltype(Row::entry) entry, R (Base::*function)(A...)) {
  return {{entry, &perform<R, Base, A...>,
           [](std::vector<const char*>& names) { (add_option_names<bare<A>>(names), ...); }, is_bytes<R>},
          function};
}

/// The row of a C++ method.
template <auto function>
inline constinit auto row = make_row(&entry<function>, function);

template <auto function>
PyObject* entry(PyObject* self, PyObject* const* arguments, Py_ssize_t positional, PyObject* keywords) {
  return run(row<function>, {self, arguments, static_cast<std::size_t>(positional), keywords});
}

/// The generated table.
void add_methods(PyTypeObject* type);

}  // namespace guestkit::python
