// C++ functions for Boost.Python: functions of the module, and methods of a handle.
//
// They take and return what Boost.Python converts. A PyObject* is borrowed as an argument and new as a
// result.
#pragma once

#define BOOST_BIND_GLOBAL_PLACEHOLDERS  // Boost.Python 1.74 itself uses the old header
#include <boost/mpl/vector.hpp>
#include <boost/python/errors.hpp>
#include <boost/python/make_function.hpp>
#include <boost/python/object.hpp>
#include <functional>
#include <optional>

#include "error.hpp"
#include "gil.hpp"
#include "handle.hpp"

namespace guestkit::python {

/// Whether a function runs with the GIL. Without it, it must not touch Python.
enum class Gil { held, released };

/// Runs it; a C++ exception becomes a Python one, and Boost.Python is told that one is set.
template <class F>
auto translated(const F& body) {
  try {
    return body();
  } catch (const abi::__forced_unwind&) {  // the interpreter exited while the body ran Python code
    park();
  } catch (...) {
    translate();
    boost::python::throw_error_already_set();
    throw;  // unreachable
  }
}

/// Makes a function of the module.
template <class R, class... A>
boost::python::object function(R (*body)(A...)) {
  const auto call = [body](A... arguments) { return translated([&] { return body(arguments...); }); };
  return boost::python::make_function(call, boost::python::default_call_policies(),
                                      boost::mpl::vector<R, A...>());
}

/// Makes a method of what can be invoked with a handle and these arguments. The method takes the bare object:
/// Boost.Python's own message for one that was never constructed helps nobody.
template <Gil gil, class R, class... A, class Body>
boost::python::object method_of(Body body) {
  const auto call = [body](PyObject* self, A... arguments) {
    return translated([&] {
      Handle& handle = self_of(self);
      std::optional<GilRelease> released;
      if constexpr (gil == Gil::released) released.emplace();
      return std::invoke(body, handle, arguments...);
    });
  };
  return boost::python::make_function(call, boost::python::default_call_policies(),
                                      boost::mpl::vector<R, PyObject*, A...>());
}

template <Gil gil = Gil::held, class R, class... A>
boost::python::object method(R (*body)(Handle&, A...)) {
  return method_of<gil, R, A...>(body);
}
template <Gil gil = Gil::held, class R, class Class, class... A>
boost::python::object method(R (Class::*body)(A...)) {
  return method_of<gil, R, A...>(body);
}
template <Gil gil = Gil::held, class R, class Class, class... A>
boost::python::object method(R (Class::*body)(A...) const) {
  return method_of<gil, R, A...>(body);
}

}  // namespace guestkit::python
